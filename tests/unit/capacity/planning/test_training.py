import pytest

from capacity.errors import CapacityError
from capacity.planning import gpus
from capacity.planning.gpus import gpu
from capacity.planning.shapes import shape
from capacity.planning.training import TrainingRecipe, adapters, check, qlora

GB, GIB = 1e9, 2**30


def test_qlora_of_a_7b_fits_in_16_gb() -> None:
    for tokens in (2048, 8192):
        assert qlora(shape("llava-1.5-7b"), TrainingRecipe(tokens=tokens)).total < 16 * GIB * gpus.USABLE


def test_its_weights_are_the_5_gb_of_the_paper() -> None:
    """arXiv:2305.14314: 5 GB for Guanaco 7B, of which adapters are a part."""
    assert qlora(shape("llava-1.5-7b"), TrainingRecipe()).parts["weights"] / GB == pytest.approx(4.5, abs=0.5)


def test_adapters_of_rank_64_beside_every_linear_layer_of_llama_7b() -> None:
    """What peft prints: trainable params 159,907,840."""
    assert adapters(shape("llava-1.5-7b").writer, 64) == 159_907_840


def test_what_exceeds_the_gpu_is_refused() -> None:
    training = qlora(shape("qwen2.5-7b-instruct"), TrainingRecipe(tokens=8192))
    with pytest.raises(CapacityError, match=r"does not fit on one L4 24 GB: .* most of it for activations"):
        check(training, gpu("L4"))
    check(training, gpu("A100"))


@pytest.mark.parametrize("model", ["sdxl", "whisper-base", "all-minilm-l6-v2"])
def test_what_is_no_language_model_is_refused(model: str) -> None:
    with pytest.raises(CapacityError, match=f"{model} is not a language model"):
        qlora(shape(model), TrainingRecipe())
