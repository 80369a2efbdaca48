"""Helm values of a plan for charts/polyphony, on top of values-gpu.yaml or values-embedded.yaml."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from capacity.errors import CapacityError
from capacity.planning.deployment import VLLM, DeployedService
from capacity.planning.gpus import MIB, USABLE, Gpu
from capacity.planning.memory import MemoryNeed
from capacity.planning.plan import Plan
from capacity.planning.shapes import shape
from servekit.models import catalogue

STEP_MIB = 128  # the granularity of memory requests
LIMIT = 1.5  # the limit over the request: the kernel kills a process beyond it
Values = dict[str, Any]


def values(plan: Plan) -> Values:
    """The Helm values of a plan.

    Raises:
        CapacityError: The profile does not use a model that is planned on vLLM, or no published weights of a model are
            known.
    """
    _check_vllm(plan)
    found: Values = {"global": {"profile": plan.request.profile}}
    for row in plan.services:
        found[row.service] = _deployed(row, plan)
        if row.service == VLLM and plan.request.gpu:
            found[VLLM] |= _vllm(row.needs[0], plan, plan.request.gpu)
            found["generation"] = _slots(plan, VLLM)
    return found


def text(plan: Plan, command: str) -> str:
    """The values as a YAML file, with comments on its origin and on what it does not set.

    Raises:
        CapacityError: See `values`.
    """
    found = values(plan)
    base = "values-gpu.yaml" if plan.request.gpu else "values-embedded.yaml"
    files = [base, "values-vllm.yaml"] if VLLM in found else [base]
    below = " ".join(f"-f charts/polyphony/{name}" for name in files)
    head = [f"Written by `{command}`.", f"helm upgrade --install polyphony charts/polyphony {below} -f <this file>"]
    if plan.request.extra:
        head.append(f"Planned for, but in no profile: {', '.join(plan.request.extra)}.")
    for one in (
        one for row in plan.services for one in (*row.needs, *row.off_gpu) if one.engine in (VLLM, "llama.cpp")
    ):
        window = catalogue.model(one.model).limits.get("window_tokens")
        if window != plan.request.load.context:
            head.append(f"The context of {one.model} is in its model spec: limits.window_tokens, now {window:g}.")
        if one.engine == VLLM and "@" not in shape(one.model).hub[one.precision]:
            head.append(f"No revision of {shape(one.model).hub[one.precision]} is known: add --revision to vllm.args.")
    return "".join(f"# {line}\n" for line in head) + "\n".join(_lines(found)) + "\n"


def _check_vllm(plan: Plan) -> None:
    """Check that the profile calls the planned vLLM server, and that every server it calls is planned."""
    profile = plan.request.profile
    called = _on_vllm(profile)
    planned = {one.model for row in plan.services for one in row.needs if one.engine == VLLM}
    if alone := planned - called:
        able = " or ".join(name for name in catalogue.names("profiles") if _on_vllm(name))
        raise CapacityError(
            f"--values: {', '.join(sorted(alone))} is planned on vLLM, and nothing of profile {profile} would call it "
            f"there: {'leave out --model' if called else f'plan --profile {able}'}"
        )
    if missing := called - planned:
        raise CapacityError(
            f"--values: profile {profile} calls a vLLM server for {', '.join(sorted(missing))}, which is planned "
            f"elsewhere: leave out --quantization {plan.request.quantization}"
        )


def _on_vllm(profile: str) -> set[str]:
    """The models of the profile that run on a vLLM server."""
    return {spec.id for spec in catalogue.models_of(profile, "generation") if spec.runtime == VLLM}


def _deployed(row: DeployedService, plan: Plan) -> Values:
    found: Values = {}
    if plan.request.gpu and row.needs:
        found["gpu"] = {"count": 1, "resource": _resource(row.service, plan)}
        found["nodeSelector"] = {"nvidia.com/gpu.product": plan.request.gpu.product}
        if plan.request.sharing == "time":
            found["affinity"] = _one_a_node(row.service)
    else:
        found["resources"] = _memory(sum(one.total for one in (*row.needs, *row.off_gpu)))
    if any(one.engine == "llama.cpp" for one in (*row.needs, *row.off_gpu)):
        return found | _slots(plan, row.service)
    return found | _scale(plan, row.service)


def _one_a_node(service: str) -> Values:
    """An anti-affinity that keeps two pods of a service off one time-sliced GPU, where the plan has memory for one."""
    apart = {"matchLabels": {"app.kubernetes.io/component": service}}
    rule = {"topologyKey": "kubernetes.io/hostname", "labelSelector": apart}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}


def _slots(plan: Plan, service: str) -> Values:
    """The slots of generation, which are the engines of its pod, for each pod of the service that generates."""
    slots, found = plan.request.load.concurrency, _scale(plan, service)
    found["autoscaling"] = {**found.get("autoscaling", {}), "enginesPerPod": slots}
    return {"settings": {"slots": slots}, **found}


def _resource(service: str, plan: Plan) -> str:
    match plan.request.sharing:
        case "mig":
            return f"nvidia.com/mig-{plan.packing and plan.packing.slices[service]}"
        case "time":
            return "nvidia.com/gpu.shared"
        case _:
            return "nvidia.com/gpu"


def _memory(needed: int) -> Values:
    asked, most = (math.ceil(size / MIB / STEP_MIB) * STEP_MIB for size in (needed, needed * LIMIT))
    return {"requests": {"memory": f"{asked}Mi"}, "limits": {"memory": f"{most}Mi"}}


def _scale(plan: Plan, service: str) -> Values:
    """The pods for the rate, as fixed replicas and as the minimum of an autoscaler."""
    if service not in plan.replicas:
        return {}
    pods = plan.replicas[service]
    return {"replicas": pods, "autoscaling": {"minReplicas": pods, "maxReplicas": 2 * pods}}


def _vllm(server: MemoryNeed, plan: Plan, gpu: Gpu) -> Values:
    known, load = shape(server.model), plan.request.load
    if server.precision not in known.hub:
        published = ", ".join(known.hub) or "none"
        raise CapacityError(f"--values: {known.id} has no published weights in {server.precision}; it has {published}")
    repository, _, revision = known.hub[server.precision].partition("@")
    # Its share of the GPU; alone on a GPU or slice it uses all of the memory for its KV cache.
    share = math.ceil(100 * server.total / (gpu.memory_mib * MIB)) / 100 if plan.request.sharing == "time" else USABLE
    args = {
        "model": repository,
        **({"revision": revision} if revision else {}),
        "served-model-name": known.id,
        "host": "0.0.0.0",  # noqa: S104
        "port": 8000,
        "max-model-len": load.context,
        "max-num-seqs": load.concurrency,
        "gpu-memory-utilization": share,
    }
    found: Values = {"enabled": True, "args": [f"--{name}={value}" for name, value in args.items()]}
    if scale := _scale(plan, VLLM):
        # vLLM reports no engine seconds: the offered load of generation, whose slots are its texts, counts.
        by_offered_load = {"type": "keda", "offeredLoadOf": "generation", "enginesPerPod": load.concurrency}
        found["autoscaling"] = scale["autoscaling"] | by_offered_load
    return found


def _lines(found: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Lines of YAML of nested mappings; other values are written as JSON, which is valid YAML."""
    for key, value in found.items():
        name = json.dumps(key) if "/" in key else key
        if isinstance(value, dict):
            yield f"{'  ' * depth}{name}:"
            yield from _lines(value, depth + 1)
        else:
            yield f"{'  ' * depth}{name}: {json.dumps(value)}"
