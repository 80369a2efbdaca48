"""What needs no weights of the llama.cpp generator; the rest is tested end to end."""

import pytest

from servekit.models import catalogue
from servekit.rpc.errors import FailedPrecondition, Internal, InvalidArgument, Unavailable
from services.generation.generate_text.models import llama
from services.generation.settings import GenerationSettings


@pytest.mark.parametrize(
    ("error", "kind", "field"),
    [
        ({"code": 400, "message": "Failed to initialize samplers"}, InvalidArgument, "format.json_schema"),
        ({"code": 503, "message": "Loading model"}, Unavailable, ""),
        ({"code": 500, "message": "Compute error."}, Internal, ""),
    ],
)
def test_failures_of_the_engine_are_ours(error, kind, field):
    failure = llama._failure(error)
    assert (type(failure), failure.field) == (kind, field)


def test_a_refusal_says_where_the_schema_is_wrong():
    message = "Unable to generate parser. JSON schema error at #/properties/a: unrecognized type banana"
    assert "#/properties/a: unrecognized type banana" in llama._refusal(message).message


def test_a_file_that_is_no_model_is_a_clear_error(tmp_path):
    spec = catalogue.model("qwen2.5-coder-0.5b-instruct")
    settings = GenerationSettings(home=tmp_path, threads=1)
    weights = spec.folder(settings.models_dir) / "model.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF, or so it says")
    with pytest.raises(FailedPrecondition, match=r"model\.gguf"):
        llama.load(spec, settings)
