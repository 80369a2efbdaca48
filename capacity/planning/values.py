"""A plan as values for charts/polyphony, on top of values-gpu.yaml or values-embedded.yaml."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from capacity.errors import CapacityError
from capacity.planning.deployment import VLLM, Deployed
from capacity.planning.gpus import MIB, USABLE, Gpu
from capacity.planning.memory import Need
from capacity.planning.plan import Plan
from capacity.planning.shapes import shape
from servekit import catalogue

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
        found[row.service] = _deployed(row, plan)
        if row.service in plan.replicas:
            found[row.service] |= _scale(plan.replicas[row.service])
        if row.service == VLLM and plan.question.gpu:
            found[row.service] |= _vllm(row.needs[0], plan, plan.question.gpu)
    return found


def text(plan: Plan, command: str) -> str:
    """The values as a file, with how it came about, and what it cannot say."""
    found = values(plan)
    base = "values-gpu.yaml" if plan.question.gpu else "values-embedded.yaml"
    files = [base, "values-vllm.yaml"] if VLLM in found else [base]
    below = " ".join(f"-f charts/polyphony/{name}" for name in files)
    head = [f"Written by `{command}`.", f"helm upgrade --install polyphony charts/polyphony {below} -f <this file>"]
    if VLLM in found and not _on_vllm(plan.question.profile):
        head.append(
            f"The models of {plan.question.profile} run elsewhere than on vLLM: plan one that does, as gpu-vllm."
        )
    if plan.question.extra:
        head.append(f"Planned for, but in no profile: {', '.join(plan.question.extra)}.")
    for one in (one for row in plan.services for one in (*row.needs, *row.beside) if one.engine in (VLLM, "llama.cpp")):
        window = catalogue.model(one.model).limits.get("window_tokens")
        if window != plan.question.load.context:
            head.append(f"The context of {one.model} stands in its card: limits.window_tokens, now {window:g}.")
    return "".join(f"# {line}\n" for line in head) + "\n".join(_lines(found)) + "\n"


def _on_vllm(profile: str) -> bool:
    """Whether the profile's service hands a text model to a vLLM server."""
    return any(card.loader == VLLM for card in catalogue.models_of(profile, "generation"))


def _deployed(row: Deployed, plan: Plan) -> Values:
    found: Values = {}
    if plan.question.gpu and row.needs:
        found["gpu"] = {"count": 1, "resource": _resource(row.service, plan)}
        found["nodeSelector"] = {"nvidia.com/gpu.product": plan.question.gpu.product}
    else:
        found["resources"] = _memory(sum(one.total for one in (*row.needs, *row.beside)))
    if any(one.engine == "llama.cpp" for one in (*row.needs, *row.beside)):
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


def _memory(needed: int) -> Values:
    asked, most = (math.ceil(size / MIB / STEP_MIB) * STEP_MIB for size in (needed, needed * LIMIT))
    return {"requests": {"memory": f"{asked}Mi"}, "limits": {"memory": f"{most}Mi"}}


def _scale(replicas: int) -> Values:
    """Pods for the rate: as they are where nothing scales them, and as the least that an autoscaler keeps."""
    return {"replicas": replicas, "autoscaling": {"min": replicas, "max": 2 * replicas}}


def _vllm(server: Need, plan: Plan, gpu: Gpu) -> Values:
    known, load = shape(server.model), plan.question.load
    if server.precision not in known.hub:
        published = ", ".join(known.hub) or "none"
        raise CapacityError(f"--values: {known.id} has no published weights in {server.precision}; it has {published}")
    # Its part of the GPU; alone on one, or on a slice, it takes what it is given for more of a cache.
    share = math.ceil(100 * server.total / (gpu.memory_mib * MIB)) / 100 if plan.question.sharing == "time" else USABLE
    args = {
        "model": known.hub[server.precision],
        "served-model-name": known.id,
        "host": "0.0.0.0",  # noqa: S104
        "port": 8000,
        "max-model-len": load.context,
        "max-num-seqs": load.concurrency,
        "gpu-memory-utilization": share,
    }
    return {"enabled": True, "args": [f"--{name}={value}" for name, value in args.items()]}


def _lines(found: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """YAML of nested mappings; what they hold is written as JSON, which is YAML."""
    for key, value in found.items():
        name = json.dumps(key) if "/" in key else key
        if isinstance(value, dict):
            yield f"{'  ' * depth}{name}:"
            yield from _lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{name}: {json.dumps(value)}"
