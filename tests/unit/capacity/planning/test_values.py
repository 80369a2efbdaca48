"""What a plan writes, rendered by Helm upon the values files that it names; the charts' schemas refuse bad values."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from capacity.errors import CapacityError
from capacity.planning.deployment import PlanRequest
from capacity.planning.gpus import gpu
from capacity.planning.memory import Load
from capacity.planning.plan import Plan, plan
from capacity.planning.values import text, values
from charts.render import UMBRELLA, manifests, merged
from servekit.models import catalogue

AWQ = PlanRequest("gpu-vllm", gpu("A100"), Load(8192, 16), quantization="awq")


def objects(found: Plan, *below: str) -> list[dict[str, Any]]:
    files = [yaml.safe_load((UMBRELLA / name).read_text()) for name in below]
    return [manifest for _, manifest in manifests(merged(*files, yaml.safe_load(text(found, "polyphony plan"))))]


def rendered(found: Plan, *below: str) -> dict[str, dict[str, Any]]:
    """The pods of each deployed thing."""
    owners = [row for row in objects(found, *below) if row["kind"] in ("Deployment", "StatefulSet")]
    return {row["metadata"]["name"].removeprefix("polyphony-"): row["spec"]["template"]["spec"] for row in owners}


def gpus_of(pod: dict[str, Any]) -> dict[str, Any]:
    limits = pod["containers"][0]["resources"]["limits"]
    return {name: count for name, count in limits.items() if name.startswith("nvidia.com/")}


def test_a_gpu_plan_puts_what_needs_a_gpu_on_one_of_that_kind() -> None:
    pods = rendered(plan(PlanRequest("gpu", gpu("L4"), Load(4096, 6))), "values-gpu.yaml")
    for service in ("vision", "speech", "retrieval"):
        assert gpus_of(pods[service]) == {"nvidia.com/gpu": 1}
        assert pods[service]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert gpus_of(pods["generation"]) == {}
    memory = pods["generation"]["containers"][0]["resources"]["requests"]["memory"]
    assert 5700 < int(memory.removesuffix("Mi")) < 6400


def threshold(rows: list[dict[str, Any]], component: str) -> float:
    """Engine seconds a second that KEDA wants of each pod."""
    (scaled,) = [row for row in rows if row["kind"] == "ScaledObject" and row["metadata"]["name"].endswith(component)]
    return float(scaled["spec"]["triggers"][0]["metadata"]["threshold"])


def variables(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {name: value for row in rows if row["kind"] == "ConfigMap" for name, value in row["data"].items()}


def test_a_plan_on_cpus_writes_as_many_texts_at_once_as_planned_and_scales_by_them() -> None:
    rows = objects(plan(PlanRequest("gpu", gpu("L4"), Load(4096, 6))), "values-gpu.yaml")
    assert variables(rows)["POLYPHONY_GENERATION_SLOTS"] == "6"
    assert threshold(rows, "generation") == pytest.approx(6 * 0.7)


def test_generation_hands_vllm_as_many_texts_at_once_as_planned() -> None:
    rows = objects(plan(AWQ), "values-gpu.yaml", "values-vllm.yaml")
    assert variables(rows)["POLYPHONY_GENERATION_SLOTS"] == "16"
    assert variables(rows)["POLYPHONY_GENERATION_VLLM_URL"] == "http://polyphony-vllm-http:8000"
    assert variables(rows)["POLYPHONY_PROFILE"] == "gpu-vllm"
    assert threshold(rows, "generation") == pytest.approx(16 * 0.7)


def test_a_rate_scales_vllm_by_what_is_demanded_of_generation() -> None:
    rows = objects(plan(replace(AWQ, rates={"chat": 3})), "values-gpu.yaml", "values-vllm.yaml")
    scaled = {row["metadata"]["name"]: row["spec"] for row in rows if row["kind"] == "ScaledObject"}
    assert set(scaled) == {"polyphony-generation", "polyphony-vllm"}
    for spec in scaled.values():
        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (4, 8)
        assert 'service="generation"' in spec["triggers"][0]["metadata"]["query"]
    assert threshold(rows, "vllm") == pytest.approx(16 * 0.7)


def test_a_server_that_nobody_would_call_is_refused_with_the_remedy() -> None:
    with pytest.raises(CapacityError, match=r"nothing of profile gpu would call it there: plan --profile gpu-vllm$"):
        values(plan(replace(AWQ, profile="gpu")))
    with pytest.raises(CapacityError, match=r"llava-1\.5-7b is planned on vLLM, .*: leave out --model$"):
        values(plan(replace(AWQ, extra=("llava-1.5-7b",), load=Load(4096, 1))))


def test_calls_of_a_server_that_is_not_there_are_refused() -> None:
    with pytest.raises(CapacityError, match=r"profile gpu-vllm calls a vLLM server .*: leave out --quantization q8_0"):
        values(plan(replace(AWQ, quantization="q8_0")))


def test_a_quantized_plan_starts_vllm_with_the_cache_that_was_planned() -> None:
    found = plan(replace(AWQ, sharing="mig"))
    pods = rendered(found, "values-gpu.yaml", "values-vllm.yaml")
    assert gpus_of(pods["vllm"]) == {"nvidia.com/mig-3g.20gb": 1}
    assert gpus_of(pods["vision"]) == {"nvidia.com/mig-1g.5gb": 1}
    arguments = set(pods["vllm"]["containers"][0]["args"])
    assert {"--model=Qwen/Qwen2.5-7B-Instruct-AWQ", "--max-model-len=8192", "--max-num-seqs=16"} <= arguments
    assert "--revision=b25037543e9394b818fdfca67ab2a00ecc7dd641" in arguments
    assert "--gpu-memory-utilization=0.9" in arguments


def test_taking_turns_gives_vllm_no_more_than_its_part() -> None:
    args = values(plan(replace(AWQ, sharing="time")))["vllm"]["args"]
    assert "--gpu-memory-utilization=0.35" in args  # 14.7 of 42.9 GB


def test_pods_of_a_service_that_take_turns_do_not_meet_on_a_node() -> None:
    pods = rendered(plan(replace(AWQ, sharing="time")), "values-gpu.yaml", "values-vllm.yaml")
    for name in ("vision", "speech", "vllm", "retrieval"):
        (rule,) = pods[name]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"]["matchLabels"] == {"app.kubernetes.io/component": name}
    assert "affinity" not in values(plan(AWQ))["vllm"]


def test_unquantized_weights_are_those_of_the_card() -> None:
    args = values(plan(replace(AWQ, quantization=None)))["vllm"]["args"]
    repository, _, revision = catalogue.model("qwen2.5-7b-instruct-vllm").origin.partition("@")
    assert [f"--model={repository}", f"--revision={revision}"] == args[:2]


def test_weights_without_a_known_revision_are_reported() -> None:
    found = plan(replace(AWQ, quantization="gptq"))
    assert not [word for word in values(found)["vllm"]["args"] if word.startswith("--revision")]
    assert "# No revision of Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4 is known: add --revision to vllm.args.\n" in text(
        found, ""
    )


def test_an_embedded_plan_asks_for_memory() -> None:
    pods = rendered(plan(PlanRequest("embedded", None)), "values-embedded.yaml")
    requests = {
        name: pods[name]["containers"][0]["resources"]["requests"]["memory"] for name in pods if name != "gateway"
    }
    assert set(requests) == {"vision", "speech", "generation", "retrieval"}
    assert all(200 <= int(size.removesuffix("Mi")) <= 1200 for size in requests.values())


def test_replicas_are_what_is_started_and_what_an_autoscaler_keeps() -> None:
    found = replace(plan(PlanRequest("gpu", gpu("L4"))), replicas={"vision": 3})
    assert values(found)["vision"]["replicas"] == 3
    assert values(found)["vision"]["autoscaling"] == {"minReplicas": 3, "maxReplicas": 6}
    assert "replicas" not in values(found)["speech"]


def test_the_file_says_how_it_came_about_and_what_it_cannot_say() -> None:
    first, second, *_ = text(plan(AWQ), "polyphony plan --gpu A100").splitlines()
    assert first == "# Written by `polyphony plan --gpu A100`."
    assert "-f charts/polyphony/values-gpu.yaml -f charts/polyphony/values-vllm.yaml -f <this file>" in second
    assert "limits.window_tokens, now 8192" in text(plan(replace(AWQ, load=Load(4096, 16))), "")


def test_weights_that_nobody_publishes_are_refused() -> None:
    with pytest.raises(CapacityError, match="no published weights in nf4; it has bf16"):
        values(plan(replace(AWQ, quantization="nf4")))
