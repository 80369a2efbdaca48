"""A capacity plan: what a profile needs on a type of GPU."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from capacity.curve import Curves, curves, names
from capacity.errors import CapacityError
from capacity.planning.deployment import VLLM, DeployedService, PlanRequest, deployed, shapes_of
from capacity.planning.packing import Packing, pack
from capacity.planning.refusals import check_room, check_sharing
from capacity.planning.replicas import OfferedLoad, demands, replicas
from capacity.planning.shapes import shape
from capacity.planning.speed import Speed, bound
from capacity.planning.training import TrainingPlan, check, qlora


@dataclass(frozen=True)
class Plan:
    """A capacity plan. `replicas` follow from rates and `curves`; `packing` is None on CPUs."""

    question: PlanRequest
    services: tuple[DeployedService, ...]
    packing: Packing | None
    speeds: tuple[Speed, ...]
    demands: tuple[OfferedLoad, ...]
    replicas: Mapping[str, int]
    curves: Curves | None = None
    training: TrainingPlan | None = None


def plan(question: PlanRequest) -> Plan:
    """Make a capacity plan.

    Raises:
        CapacityError: Something that is named is not known, or the plan does not fit; it says why, and what would help.
    """
    known = _curves(question.profile) if question.rates else None
    shapes = shapes_of(question)
    services = tuple(deployed(name, rows, question) for name, rows in shapes.items())
    check_room(services, shapes, question)
    packing = None
    if question.gpu:
        packing = pack({row.service: row.total for row in services if row.needs}, question.gpu)
        check_sharing(packing, services, question, question.gpu)
    training = qlora(shape(question.adapt), question.recipe) if question.adapt else None
    if training and question.gpu:
        check(training, question.gpu)
    speeds = _speeds(services, question)
    asked = _demands(services, known, speeds, question) if known else ()
    pods = replicas(asked, question.share)
    return Plan(question, services, packing, speeds, asked, pods, known, training)


def _curves(profile: str) -> Curves:
    try:
        return curves(profile)
    except FileNotFoundError as error:
        known = ", ".join(names())
        raise CapacityError(f"--rate: profile {profile} has no curves; {known} have") from error


def _demands(
    services: tuple[DeployedService, ...], known: Curves, speeds: tuple[Speed, ...], question: PlanRequest
) -> tuple[OfferedLoad, ...]:
    instead = {"generation": VLLM} if any(row.service == VLLM for row in services) else {}
    asked = demands(question.rates, known, instead)
    for row in services:
        if question.gpu and not row.needs and any(demand.service == row.service for demand in asked):
            raise CapacityError(
                f"--rate: the curves are of GPUs, and {row.service} is on CPUs: plan one that is not, such as gpu-vllm"
            )
    bounds = _bounds(services, speeds)
    return tuple(row.writing(question.load.concurrency, bounds.get(row.service, math.inf)) for row in asked)


def _bounds(services: tuple[DeployedService, ...], speeds: tuple[Speed, ...]) -> dict[str, float]:
    """The bound on tokens a second of each service, that of its first language model."""
    known = {row.model: row.together for row in speeds}
    found: dict[str, float] = {}
    for service in services:
        for one in service.needs:
            if one.model in known:
                found.setdefault(service.service, known[one.model])
    return found


def _speeds(services: tuple[DeployedService, ...], question: PlanRequest) -> tuple[Speed, ...]:
    gpu = question.gpu
    if gpu is None:
        return ()
    found = [(shape(row.model), row) for service in services for row in service.needs]
    return tuple(bound(known, row, question.load, gpu) for known, row in found if known.writes_text)
