"""A capacity plan: what a profile needs on a type of GPU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from capacity.curve import Curves, curves, names
from capacity.errors import CapacityError
from capacity.planning.deployment import VLLM, DeployedService, PlanRequest, deployed, shapes_of
from capacity.planning.packing import Packing, pack
from capacity.planning.refusals import check_room, check_sharing
from capacity.planning.replicas import OfferedLoad, offered_loads, replicas
from capacity.planning.shapes import shape
from capacity.planning.speed import Speed, bound
from capacity.planning.training import TrainingPlan, check, qlora


@dataclass(frozen=True)
class Plan:
    """A capacity plan. `replicas` follow from rates and `curves`; `packing` is None on CPUs."""

    request: PlanRequest
    services: tuple[DeployedService, ...]
    packing: Packing | None
    speeds: tuple[Speed, ...]
    offered_loads: tuple[OfferedLoad, ...]
    replicas: Mapping[str, int]
    curves: Curves | None = None
    training: TrainingPlan | None = None


def plan(request: PlanRequest) -> Plan:
    """Make a capacity plan.

    Raises:
        CapacityError: A name is unknown, or the plan does not fit; the error says why, and which changes would help.
    """
    known = _curves(request.profile) if request.rates else None
    shapes = shapes_of(request)
    services = tuple(deployed(name, rows, request) for name, rows in shapes.items())
    check_room(services, shapes, request)
    packing = None
    if request.gpu:
        packing = pack({row.service: row.total for row in services if row.needs}, request.gpu)
        check_sharing(packing, services, request, request.gpu)
    training = qlora(shape(request.adapt), request.recipe) if request.adapt else None
    if training and request.gpu:
        check(training, request.gpu)
    speeds = _speeds(services, request)
    asked = _offered_loads(services, known, speeds, request) if known else ()
    pods = replicas(asked, request.share)
    return Plan(request, services, packing, speeds, asked, pods, known, training)


def _curves(profile: str) -> Curves:
    try:
        return curves(profile)
    except FileNotFoundError as error:
        known = ", ".join(names())
        raise CapacityError(f"--rate: profile {profile} has no curves; {known} have") from error


def _offered_loads(
    services: tuple[DeployedService, ...], known: Curves, speeds: tuple[Speed, ...], request: PlanRequest
) -> tuple[OfferedLoad, ...]:
    instead = {"generation": VLLM} if any(row.service == VLLM for row in services) else {}
    asked = offered_loads(request.rates, known, instead)
    for row in services:
        if request.gpu and not row.needs and any(load.service == row.service for load in asked):
            raise CapacityError(
                f"--rate: the curves are of GPUs, and {row.service} is on CPUs: plan one that is not, such as gpu-vllm"
            )
    bounds = _bounds(services, speeds)
    return tuple(row.writing(request.load.concurrency, bounds.get(row.service, math.inf)) for row in asked)


def _bounds(services: tuple[DeployedService, ...], speeds: tuple[Speed, ...]) -> dict[str, float]:
    """The bound on tokens a second of each service, that of its first language model."""
    known = {row.model: row.together for row in speeds}
    found: dict[str, float] = {}
    for service in services:
        for one in service.needs:
            if one.model in known:
                found.setdefault(service.service, known[one.model])
    return found


def _speeds(services: tuple[DeployedService, ...], request: PlanRequest) -> tuple[Speed, ...]:
    gpu = request.gpu
    if gpu is None:
        return ()
    found = [(shape(row.model), row) for service in services for row in service.needs]
    return tuple(bound(known, row, request.load, gpu) for known, row in found if known.writes_text)
