"""What needs no weights of the llama.cpp engine; the rest is tested end to end."""

import pytest

from servekit.chat.llama_cpp import LlamaCppChatModel, LlamaCppConfig
from servekit.chat.llama_cpp_tokenizer import engine_error, schema_error
from servekit.errors import FailedPrecondition, Internal, InvalidArgument, Unavailable


@pytest.mark.parametrize(
    ("error", "kind", "field"),
    [
        ({"code": 400, "message": "Failed to initialize samplers"}, InvalidArgument, "format.json_schema"),
        ({"code": 503, "message": "Loading model"}, Unavailable, ""),
        ({"code": 500, "message": "Compute error."}, Internal, ""),
    ],
)
def test_an_error_of_the_engine_is_one_of_ours(error, kind, field):
    failure = engine_error(error)
    assert (type(failure), failure.field) == (kind, field)


def test_the_error_says_where_the_schema_is_wrong():
    message = "Unable to generate parser. JSON schema error at #/properties/a: unrecognized type banana"
    assert "#/properties/a: unrecognized type banana" in schema_error(message).message


def test_a_file_that_is_not_a_model_is_a_failed_precondition(tmp_path):
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"GGUF and nothing more")
    config = LlamaCppConfig(
        weights,
        window_tokens=512,
        max_prompt_bytes=1000,
        slots=1,
        threads=1,
        decode_threads=1,
        prefill_chunk_tokens=64,
        temperature=0.7,
        top_p=0.8,
    )
    with pytest.raises(FailedPrecondition, match=r"model\.gguf"):
        LlamaCppChatModel(config)
