"""A plan as values for charts/polyphony, on top of values-gpu.yaml or values-embedded.yaml."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from capacity.errors import CapacityError
from capacity.planning.gpus import MIB, Gpu
from capacity.planning.memory import Need
from capacity.planning.plan import Plan, ServicePlan
from capacity.planning.shapes import shape

STEP_MIB = 128  # memory is asked for in these
LIMIT = 1.5  # over what is asked for: a process that grows past it is ended
Values = dict[str, Any]


def values(plan: Plan) -> Values:
    """The values.

    Raises:
        CapacityError: vLLM is to fetch weights that nobody is known to publish.
    """
    found: Values = {"global": {"profile": plan.question.profile}}
    for row in plan.services:
        found[row.service] = _on_gpu(row, plan, plan.question.gpu) if plan.question.gpu else _on_cpu(row)
        if row.service in plan.replicas:
            found[row.service] |= _scale(plan.replicas[row.service])
        server = next((one for one in row.needs if one.engine == "vllm"), None)
        if server and plan.question.gpu:
            found["vllm"] = _vllm(server, plan, plan.question.gpu, found[row.service])
            found[row.service] = {"gpu": {"count": 0}}
    return found


def text(plan: Plan, command: str) -> str:
    """The values as a file, with how it came about."""
    base = "values-gpu.yaml" if plan.question.gpu else f"values-{plan.question.profile}.yaml"
    found = values(plan)
    files = [base, "values-vllm.yaml"] if "vllm" in found else [base]
    below = " ".join(f"-f charts/polyphony/{name}" for name in files)
    head = [
        f"# Written by `{command}`.",
        f"# helm upgrade --install polyphony charts/polyphony {below} -f <this file>",
    ]
    return "\n".join([*head, *_lines(found)]) + "\n"


def _on_gpu(row: ServicePlan, plan: Plan, gpu: Gpu) -> Values:
    found: Values = {"gpu": {"count": 1 if row.needs else 0}}
    if row.needs:
        found["gpu"]["resource"] = _resource(row.service, plan)
        found["nodeSelector"] = {"nvidia.com/gpu.product": gpu.product}
    if any(one.engine == "llama.cpp" for one in row.needs):
        found["settings"] = {"slots": plan.question.load.concurrency}
    return found


def _resource(service: str, plan: Plan) -> str:
    match plan.question.sharing:
        case "mig":
            return f"nvidia.com/mig-{plan.packing and plan.packing.slices[service]}"
        case "time":
            return "nvidia.com/gpu.shared"
        case _:
            return "nvidia.com/gpu"


def _on_cpu(row: ServicePlan) -> Values:
    asked = math.ceil(row.total / MIB / STEP_MIB) * STEP_MIB
    most = math.ceil(row.total * LIMIT / MIB / STEP_MIB) * STEP_MIB
    return {"resources": {"requests": {"memory": f"{asked}Mi"}, "limits": {"memory": f"{most}Mi"}}}


def _scale(replicas: int) -> Values:
    """Pods for the rate: as they are where nothing scales them, and as the least that an autoscaler keeps."""
    return {"replicas": replicas, "autoscaling": {"min": replicas, "max": 2 * replicas}}


def _vllm(server: Need, plan: Plan, gpu: Gpu, generation: Values) -> Values:
    known, load = shape(server.model), plan.question.load
    if server.precision not in known.hub:
        published = ", ".join(known.hub) or "none"
        raise CapacityError(f"--values: {known.id} has no published weights in {server.precision}; it has {published}")
    memory = gpu.usable if plan.question.sharing != "time" else server.total
    args = {
        "model": known.hub[server.precision],
        "served-model-name": known.id,
        "host": "0.0.0.0",  # noqa: S104
        "port": 8000,
        "max-model-len": load.context,
        "max-num-seqs": load.concurrency,
        "gpu-memory-utilization": math.ceil(100 * memory / (gpu.memory_mib * MIB)) / 100,
    }
    return {"enabled": True, "args": [f"--{name}={value}" for name, value in args.items()]} | generation


def _lines(found: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """YAML of nested mappings; what they hold is written as JSON, which is YAML."""
    for key, value in found.items():
        name = json.dumps(key) if "/" in key else key
        if isinstance(value, dict):
            yield f"{'  ' * depth}{name}:"
            yield from _lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{name}: {json.dumps(value)}"
