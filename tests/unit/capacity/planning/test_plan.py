from dataclasses import replace

import pytest

from capacity.curve import Curve, Curves, curves
from capacity.errors import CapacityError
from capacity.planning import tables
from capacity.planning.deployment import PlanRequest
from capacity.planning.gpus import gpu
from capacity.planning.memory import Load
from capacity.planning.plan import Plan, plan
from capacity.planning.replicas import offered_loads, replicas

FP16 = PlanRequest("gpu", gpu("L4"), Load(context=8192, concurrency=16), quantization="fp16")


def curve(service: str, seconds: float, engines: int) -> Curve:
    given = {"service": service, "call": "one", "kind": "slots", "engines": engines, "source": "assumption: a test"}
    given |= {"seconds": [[1, seconds], [engines + 1, seconds]], "deadline_seconds": 30, "queue": 10, "cpu_cores": 1}
    around = ("schedule_seconds", "weights_seconds", "load_seconds", "cpu_per_engine_second", "cpu_per_call", "spread")
    return Curve.model_validate(given | dict.fromkeys(around, 0.0))


CURVES = Curves(
    title="a test",
    date="2026-11-21",
    machine="none",
    services={"ocr": curve("vision", 0.5, 2), "chat": curve("generation", 2.0, 4), "speak": curve("vision", 1.0, 2)},
)


def totals(found: Plan) -> dict[str, float]:
    return {row.service: row.total / 1e9 for row in found.services}


def test_a_plan_that_does_not_fit_says_what_how_much_and_what_would_help() -> None:
    with pytest.raises(CapacityError) as caught:
        plan(FP16)
    text = str(caught.value)
    assert text.startswith("vllm does not fit on one L4 24 GB: it needs 24.4 GB, 2.6 more than the 21.7")
    assert "qwen2.5-7b-instruct takes 24.4 of it, most of that for weights: 15.2" in text
    assert "--quantization int8 (17.8 GB)" in text
    assert "--context 4096 (20.6 GB)" in text
    assert text.endswith("or --gpu A100-40, which has 38.7.")


@pytest.mark.parametrize(
    "change",
    [
        {"quantization": "awq"},
        {"quantization": "int8"},
        {"load": Load(4096, 16)},
        {"load": Load(8192, 8)},
        {"gpu": gpu("A100-40")},
    ],
)
def test_what_would_help_does(change: dict[str, object]) -> None:
    assert totals(plan(replace(FP16, **change)))["vllm"] < 38  # type: ignore[arg-type]


def test_of_each_kind_of_change_the_least_that_is_enough_is_named() -> None:
    with pytest.raises(CapacityError, match=r"with --context 4096 \([0-9.]+ GB\), or --concurrency 8 \([0-9.]+ GB\)\."):
        plan(PlanRequest("gpu", gpu("A100"), Load(32_768, 64), "bf16"))


def test_where_nothing_helps_it_says_so() -> None:
    with pytest.raises(CapacityError, match="No one change is enough"):
        plan(PlanRequest("gpu", gpu("L4"), Load(pixels=16_384**2), extra=("sdxl",)))


def test_without_a_gpu_there_is_none_to_share() -> None:
    with pytest.raises(CapacityError, match="--share mig: with --gpu none there is none to share"):
        plan(PlanRequest("embedded", None, sharing="mig"))


def test_llama_cpp_and_the_voice_stay_off_the_gpu() -> None:
    found = plan(PlanRequest("gpu", gpu("L4")))
    beside = {one.model for row in found.services for one in row.off_gpu}
    assert {"qwen2.5-7b-instruct", "hibari", "silero-vad", "vader-en"} <= beside
    assert not any(name.startswith("whisper") for name in beside)
    assert found.packing
    assert sorted(found.packing.shared[0]) == ["retrieval", "speech", "vision"]
    assert found.speeds == ()


def test_a_bound_on_tokens_is_bandwidth_over_what_a_token_reads() -> None:
    (speed,) = plan(replace(FP16, gpu=gpu("H100"), load=Load(16, 1))).speeds
    assert speed.alone == pytest.approx(3350e9 / (7.6156e9 * 2), rel=0.01)
    assert speed.reading == pytest.approx(989e12 / (2 * 7.6156e9), rel=0.01)


def test_more_bandwidth_writes_faster_and_more_texts_write_more_together() -> None:
    l4, h100 = (plan(replace(FP16, quantization="awq", gpu=gpu(name))).speeds[0] for name in ("L4", "H100"))
    assert h100.alone / l4.alone == pytest.approx(3350 / 300)
    assert l4.together > 5 * l4.alone


def test_a_machine_without_a_gpu_holds_the_embedded_profile_in_3_gb_and_not_in_1() -> None:
    question = PlanRequest("embedded", None, memory_bytes=3_000_000_000)
    assert sum(totals(plan(question)).values()) < 3
    with pytest.raises(CapacityError, match=r"does not fit on the machine: .* more than --memory-gb"):
        plan(replace(question, memory_bytes=1_000_000_000))


def test_sharing_by_slices_needs_slices_that_hold_it() -> None:
    assert plan(PlanRequest("gpu", gpu("A100"), sharing="mig")).packing
    with pytest.raises(CapacityError, match="--share mig: L4 24 GB cannot be cut for this: it has no MIG"):
        plan(PlanRequest("gpu", gpu("L4"), sharing="mig"))


def test_taking_turns_needs_room_for_all() -> None:
    assert plan(PlanRequest("gpu", gpu("L4"), sharing="time"))
    with pytest.raises(CapacityError, match="--share time: nothing keeps pods that take turns"):
        plan(replace(FP16, load=Load(8192, 12), quantization="int8", extra=("sdxl",), sharing="time"))


def test_unknown_profiles_and_models_are_refused() -> None:
    with pytest.raises(CapacityError, match="--profile: the catalogue has no profile 'cloud'"):
        plan(PlanRequest("cloud", None))
    with pytest.raises(CapacityError, match="the shape of 'gpt-5' is not known"):
        plan(PlanRequest("gpu", None, extra=("gpt-5",)))


def test_a_diffusion_model_beside_the_profile_is_refused_where_only_offload_helps() -> None:
    large = Load(pixels=2048 * 2048)
    with pytest.raises(CapacityError, match=r"generation does not fit .* --offload"):
        plan(PlanRequest("gpu", gpu("L4"), large, extra=("sdxl",)))


def test_replicas_keep_engines_busy_to_the_share_that_is_asked_for() -> None:
    """A pod of 2 engines at half a second a call answers 4 a second, 2.8 at a share of 0.7."""
    asked = offered_loads({"ocr": 2.8, "chat": 2.9}, CURVES, {})
    assert replicas(asked, 0.7) == {"vision": 1, "generation": 3}
    assert replicas(offered_loads({"ocr": 2.81}, CURVES, {}), 0.7) == {"vision": 2}
    assert replicas(offered_loads({"ocr": 2.8}, CURVES, {}), 0.35) == {"vision": 2}


def test_kinds_of_calls_of_one_service_share_its_pods() -> None:
    assert replicas(offered_loads({"ocr": 1.4, "speak": 0.7}, CURVES, {}), 0.7) == {"vision": 1}
    assert replicas(offered_loads({"ocr": 1.4, "speak": 0.8}, CURVES, {}), 0.7) == {"vision": 2}


CHAT = PlanRequest("gpu-vllm", gpu("L4"), Load(4096, 2), rates={"chat": 3})


def test_a_pod_answers_no_more_than_its_bandwidth_allows() -> None:
    """fp16 weights on an L4: 38 tokens a second in two texts, though the curve of an A10 says twice that."""
    found = plan(CHAT)
    (load,) = found.offered_loads
    assert load.full == load.bound == found.speeds[0].together / 200 < load.curve.rate
    assert found.replicas == {"vllm": 23}  # 3 / (38.2 / 200 * 0.7)
    assert [*tables.replicas(found).columns[6].cells] == ["bandwidth"]


def test_the_first_model_of_a_server_is_the_one_that_a_rate_is_of() -> None:
    beside = replace(CHAT, gpu=gpu("A100-80"), extra=("llava-1.5-7b",))
    assert plan(beside).offered_loads == plan(replace(beside, extra=())).offered_loads


def test_a_pod_has_no_more_slots_than_texts_at_once_and_no_more_than_its_curve_knows() -> None:
    pods = {}
    for texts in (1, 4, 16, 64):
        found = plan(replace(CHAT, gpu=gpu("H200"), load=Load(4096, texts)))
        (load,) = found.offered_loads
        pods[texts] = (round(load.full, 2), found.replicas["vllm"])
        assert [*tables.replicas(found).columns[6].cells] == [f"curve, {min(texts, 16)} text{'s' * (texts > 1)}"]
    assert pods == {1: (0.21, 21), 4: (0.69, 7), 16: (1.39, 4), 64: (1.39, 4)}


def test_slots_of_a_cpu_are_texts_at_once_and_other_calls_have_their_own() -> None:
    one, four = (
        plan(PlanRequest("embedded", None, Load(4096, texts), rates={"chat": 3, "ocr": 1})) for texts in (1, 4)
    )
    known = curves("embedded").services
    assert one.offered_loads[0].full == pytest.approx(1 / known["chat"].seconds[0][1])
    assert four.offered_loads[0].full == pytest.approx(known["chat"].rate)
    assert one.offered_loads[1] == four.offered_loads[1]
    assert one.offered_loads[1].curve == known["ocr"]


def test_vllm_answers_in_place_of_generation() -> None:
    assert replicas(offered_loads({"chat": 1}, CURVES, {"generation": "vllm"}), 0.7) == {"vllm": 1}


def test_a_rate_without_a_curve_is_refused() -> None:
    with pytest.raises(CapacityError, match="--rate video: the profile has no such curve; it has ocr, chat, speak"):
        offered_loads({"video": 1}, CURVES, {})


def test_a_profile_without_curves_is_refused() -> None:
    with pytest.raises(CapacityError, match="--rate: profile fake has no curves"):
        plan(PlanRequest("fake", None, rates={"ocr": 1}))


def test_a_curve_of_gpus_is_not_taken_for_a_model_on_a_cpu() -> None:
    with pytest.raises(CapacityError, match="generation is on CPUs: plan one that is not, such as gpu-vllm"):
        plan(PlanRequest("gpu", gpu("L4"), rates={"chat": 1}))
    assert (
        plan(PlanRequest("gpu-vllm", gpu("L4"), quantization="awq", rates={"chat": 1, "ocr": 5})).replicas["vllm"] >= 1
    )
