"""Cases that others have measured, or that are well known; each says whose."""

import pytest

from capacity.errors import CapacityError
from capacity.planning import gpus, shapes
from capacity.planning.memory import Load, MemoryNeed, need
from capacity.planning.precision import Name
from capacity.planning.shapes import Shape, shape
from servekit.models import catalogue

GB, GIB, MIB = 1e9, 2**30, 2**20
CARDS = (4, 6, 8, 10, 12, 16, 24)  # GiB of graphics cards


def smallest_card(one: MemoryNeed) -> int:
    return next(size for size in CARDS if one.total <= size * GIB * gpus.USABLE)


def whisper(model: str, precision: Name) -> Shape:
    """One transcription at once."""
    return shape(model).model_copy(update={"precision": precision, "runs": 1})


def test_a_7b_llava_needs_about_18_gb_in_fp16_not_12() -> None:
    one = need(shape("llava-1.5-7b"), Load(context=4096, concurrency=1), "gpu")
    assert one.total / GB == pytest.approx(18, abs=0.5)
    assert one.weights / GB == pytest.approx(14.1, abs=0.1)
    assert one.cache / GB == pytest.approx(2.1, abs=0.1)
    assert smallest_card(one) == 24


def test_int8_halves_weights_and_int4_halves_them_again() -> None:
    language = shape("llava-1.5-7b").networks[-1]
    alone = shape("llava-1.5-7b").model_copy(update={"networks": (language,)})
    whole, int8, int4 = (need(alone, Load(), "gpu", name).weights for name in ("fp16", "int8", "awq"))
    assert int8 / whole == pytest.approx(1 / 2, abs=0.03)  # embeddings keep their 16 bits
    assert int4 / int8 == pytest.approx(1 / 2, abs=0.07)


def test_sdxl_takes_a_card_of_16_gb_8_with_offload_10_with_the_tiny_vae() -> None:
    assert smallest_card(need(shape("sdxl"), Load(), "gpu")) == 16
    assert smallest_card(need(shape("sdxl"), Load(offload=True), "gpu")) == 8
    assert smallest_card(need(shape("sdxl-taesd"), Load(), "gpu")) == 10


def test_four_images_of_sdxl_as_published() -> None:
    """huggingface.co/blog/simple_sdxl_optimizations: 21.7 GB allocated at fp16, four images of 1,024."""
    one = need(shape("sdxl"), Load(images=4), "gpu")
    assert (one.weights + one.activations) / GB == pytest.approx(21.7, rel=0.03)


def test_images_cost_by_their_area() -> None:
    small, large = (need(shape("sdxl"), Load(pixels=side * side), "gpu").activations for side in (512, 1024))
    assert large == pytest.approx(4 * small)


def test_qwen_in_awq_on_vllm_as_published() -> None:
    """vllm-project/vllm issue 13882: weights 5.20 GiB, activations 1.42 GiB at 4,096 tokens and 256 texts."""
    one = need(shape("qwen2.5-7b-instruct"), Load(4096, 256, prefill=4096), "gpu", "awq")
    assert one.weights / GIB == pytest.approx(5.20, rel=0.01)
    assert one.activations / GIB == pytest.approx(1.42, rel=0.1)


@pytest.mark.parametrize(
    ("model", "precision", "megabytes"),
    [
        ("whisper-large-v3", "fp16", 4521),
        ("whisper-large-v3", "int8", 2953),
        ("whisper-large-v3-turbo", "fp16", 2537),
        ("whisper-large-v3-turbo", "int8", 1545),
    ],
)
def test_whisper_on_ctranslate2_as_published(model: str, precision: Name, megabytes: float) -> None:
    """SYSTRAN/faster-whisper issue 1030: the most that a GPU held, beams of 5, on an RTX 2080 Ti."""
    assert need(whisper(model, precision), Load(), "gpu").total / 1e6 == pytest.approx(megabytes, rel=0.12)


def test_the_cache_is_two_numbers_for_each_layer_head_and_width_of_each_token() -> None:
    """Qwen2.5 7B: 28 layers, 4 heads of 128, 16 bits: 56 KiB a token (GQA; its 28 query heads would take 7 times)."""
    one = need(shape("qwen2.5-7b-instruct"), Load(context=8192, concurrency=16), "gpu", "fp16")
    assert one.cache == 2 * 28 * 4 * 128 * 2 * 8192 * 16
    assert one.cache / (8192 * 16) == 56 * 1024


def test_the_cache_of_vllm_comes_in_blocks_of_16_tokens() -> None:
    one, more = (need(shape("qwen2.5-7b-instruct"), Load(length, 1), "gpu", "fp16").cache for length in (16, 17))
    assert more == 2 * one


# Proportional set sizes at rest in MiB (docs/explanation/measurements/benchmarks.md), and of the same services with
# fakes, which is the memory of their libraries.
AT_REST = {"vision": 294, "speech": 556, "generation": 799, "retrieval": 195}


@pytest.mark.parametrize("service", AT_REST)
def test_embedded_services_at_rest_take_what_was_measured(service: str) -> None:
    """At rest an engine holds its weights and cache, and of its activations what its allocator did not give back."""
    models = [spec.id for spec in catalogue.models_of("embedded", service)]  # type: ignore[arg-type]
    rows = [need(shape(model), Load(), "cpu", first=number == 0) for number, model in enumerate(models)]
    most = sum(row.total for row in rows) / MIB
    least = most - sum(row.activations + (row.cache if row.engine == "ctranslate2" else 0) for row in rows) / MIB
    assert least * 0.9 <= AT_REST[service] <= most * 1.1


@pytest.mark.parametrize(("model", "peak"), [("pp-ocrv6-small", 970), ("whisper-base", 451)])
def test_the_peak_memory_of_two_concurrent_calls_is_predicted_within_a_sixth(model: str, peak: float) -> None:
    """Peak memory in MiB of a process with two concurrent requests, as measured for docs/how-to/planner.md."""
    assert need(shape(model), Load(), "cpu").total / MIB == pytest.approx(peak, rel=1 / 6)


def test_the_memory_of_the_idle_language_model_is_predicted_within_a_tenth() -> None:
    """llama.cpp takes all of it when it starts."""
    one = need(shape("qwen2.5-coder-0.5b-instruct"), Load(4096, 4), "cpu")
    assert one.total / MIB == pytest.approx(AT_REST["generation"], rel=0.1)


@pytest.mark.parametrize("profile", ["embedded", "gpu"])
def test_every_model_of_a_profile_has_a_shape_of_its_service(profile: str) -> None:
    for service, row in catalogue.profile(profile).services.items():
        for model in row.models:
            assert service in shape(model).services


def test_shapes_and_cards_name_the_same_bytes() -> None:
    for model in set(shapes.names()) & set(catalogue.names("models")):
        files = {file.bytes for file in catalogue.model(model).files}
        assert {row.file_bytes for row in shape(model).networks if row.file_bytes} <= files


def test_a_file_of_fp16_weights_holds_two_bytes_for_each_parameter() -> None:
    for model in ("whisper-base", "whisper-large-v3-turbo"):
        largest = max(file.bytes for file in catalogue.model(model).files)
        assert sum(row.parameters for row in shape(model).networks) * 2 == pytest.approx(largest, rel=0.001)


def test_a_context_beyond_the_window_is_refused() -> None:
    with pytest.raises(CapacityError, match="32,768 tokens: --context"):
        need(shape("qwen2.5-7b-instruct"), Load(context=40_000), "gpu", "awq")


def test_an_engine_of_gpus_is_refused_on_a_cpu() -> None:
    with pytest.raises(CapacityError, match="vllm, which the planner supports only on a GPU"):
        need(shape("qwen2.5-7b-instruct"), Load(), "cpu", "awq")


def test_a_model_without_a_shape_is_refused() -> None:
    with pytest.raises(CapacityError, match="catalogue/shapes"):
        shape("no-such-model")


def test_every_shape_says_where_it_is_from() -> None:
    assert all(shape(name).source for name in shapes.names())
