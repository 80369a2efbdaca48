"""What a plan writes, rendered by Helm upon the values files that it names; the charts' schemas refuse bad values."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from capacity.errors import CapacityError
from capacity.planning.deployment import Question
from capacity.planning.gpus import gpu
from capacity.planning.memory import Load
from capacity.planning.plan import Plan, plan
from capacity.planning.values import text, values
from charts.render import UMBRELLA, manifests, merged

AWQ = Question("gpu", gpu("A100"), Load(8192, 16), quantization="awq")


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
    pods = rendered(plan(Question("gpu", gpu("L4"), Load(4096, 6))), "values-gpu.yaml")
    for service in ("vision", "speech", "retrieval"):
        assert gpus_of(pods[service]) == {"nvidia.com/gpu": 1}
        assert pods[service]["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert gpus_of(pods["generation"]) == {}
    memory = pods["generation"]["containers"][0]["resources"]["requests"]["memory"]
    assert 5700 < int(memory.removesuffix("Mi")) < 6400


def test_a_plan_on_cpus_writes_as_many_texts_at_once_as_planned() -> None:
    rows = objects(plan(Question("gpu", gpu("L4"), Load(4096, 6))), "values-gpu.yaml")
    variables = {name: value for row in rows if row["kind"] == "ConfigMap" for name, value in row["data"].items()}
    assert variables["POLYPHONY_GENERATION_SLOTS"] == "6"


def test_a_quantized_plan_starts_vllm_with_the_cache_that_was_planned() -> None:
    found = plan(replace(AWQ, sharing="mig"))
    pods = rendered(found, "values-gpu.yaml", "values-vllm.yaml")
    assert gpus_of(pods["vllm"]) == {"nvidia.com/mig-3g.20gb": 1}
    assert gpus_of(pods["vision"]) == {"nvidia.com/mig-1g.5gb": 1}
    arguments = set(pods["vllm"]["containers"][0]["args"])
    assert {"--model=Qwen/Qwen2.5-7B-Instruct-AWQ", "--max-model-len=8192", "--max-num-seqs=16"} <= arguments
    assert "--gpu-memory-utilization=0.9" in arguments


def test_taking_turns_gives_vllm_no_more_than_its_part() -> None:
    args = values(plan(replace(AWQ, sharing="time")))["vllm"]["args"]
    assert "--gpu-memory-utilization=0.35" in args  # 14.7 of 42.9 GB


def test_an_embedded_plan_asks_for_memory() -> None:
    pods = rendered(plan(Question("embedded", None)), "values-embedded.yaml")
    requests = {
        name: pods[name]["containers"][0]["resources"]["requests"]["memory"] for name in pods if name != "gateway"
    }
    assert set(requests) == {"vision", "speech", "generation", "retrieval"}
    assert all(200 <= int(size.removesuffix("Mi")) <= 1200 for size in requests.values())


def test_replicas_are_what_is_started_and_what_an_autoscaler_keeps() -> None:
    found = replace(plan(Question("gpu", gpu("L4"))), replicas={"vision": 3})
    assert values(found)["vision"]["replicas"] == 3
    assert values(found)["vision"]["autoscaling"] == {"min": 3, "max": 6}
    assert "replicas" not in values(found)["speech"]


def test_the_file_says_how_it_came_about_and_what_it_cannot_say() -> None:
    first, second, *_ = text(plan(AWQ), "polyphony plan --gpu A100").splitlines()
    assert first == "# Written by `polyphony plan --gpu A100`."
    assert "-f charts/polyphony/values-gpu.yaml -f charts/polyphony/values-vllm.yaml -f <this file>" in second
    assert "limits.window_tokens, now 4096" in text(plan(replace(AWQ, quantization=None)), "")


def test_weights_that_nobody_publishes_are_refused() -> None:
    with pytest.raises(CapacityError, match="no published weights in nf4; it has bf16"):
        values(plan(replace(AWQ, quantization="nf4")))
