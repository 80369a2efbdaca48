"""What the loaders of text models refuse."""

import pytest

from servekit.errors import FailedPrecondition
from servekit.models import catalogue
from services.generation.generate_text.models import llama_cpp, vllm
from services.generation.settings import GenerationSettings


def test_a_file_that_is_not_a_model_is_refused(tmp_path):
    spec = catalogue.model("qwen2.5-coder-0.5b-instruct")
    settings = GenerationSettings(home=tmp_path, threads=1)
    weights = spec.folder(settings.models_dir) / "model.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"GGUF and nothing more")
    with pytest.raises(FailedPrecondition, match=r"model\.gguf"):
        llama_cpp.load(spec, settings)


def test_a_missing_url_of_the_vllm_server_is_refused(tmp_path):
    spec = catalogue.model("qwen2.5-7b-instruct-vllm")
    with pytest.raises(FailedPrecondition) as refused:
        vllm.load(spec, GenerationSettings(home=tmp_path))
    assert refused.value.field == "vllm_url"
