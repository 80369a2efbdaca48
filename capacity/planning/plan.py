"""A plan: what a profile needs on a kind of GPU, or the reason why it cannot be."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from capacity.curve import Curves, curves, names
from capacity.errors import CapacityError
from capacity.planning import gpus
from capacity.planning.engines import COSTS, Device
from capacity.planning.gpus import MIB, Gpu
from capacity.planning.memory import Load, Need, engine_of, need
from capacity.planning.packing import Packing, Sharing, pack
from capacity.planning.precision import Name
from capacity.planning.replicas import SHARE, Demand, demands, replicas
from capacity.planning.shapes import Shape, shape
from capacity.planning.speed import Speed, bound
from capacity.planning.training import Recipe, Training, check, qlora
from servekit import catalogue
from servekit.errors import NotFound

GB = 1e9
VLLM = "vllm"


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        profile: A row of the catalogue's profiles.
        gpu: The kind of GPU; None for a CPU.
        load: What its models are to do.
        quantization: How language models keep their weights, if not as their shapes say.
        rates: Calls a second, by kind.
        share: Of a pod's engines that is to be busy.
        sharing: How services share GPUs.
        extra: Models beside the profile's.
        memory_bytes: Of the machine whose CPU runs all of it; 0 for no bound.
        adapt: A language model to adapt on such a GPU as well; empty for none.
        recipe: How it is adapted.
    """

    profile: str
    gpu: Gpu | None
    load: Load = field(default_factory=Load)
    quantization: Name | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    share: float = SHARE
    sharing: Sharing = "none"
    extra: tuple[str, ...] = ()
    memory_bytes: int = 0
    adapt: str = ""
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True)
class ServicePlan:
    """What is deployed, a service or vLLM: what its models need where it runs, and those that stay off its GPU."""

    service: str
    needs: tuple[Need, ...]
    beside: tuple[Need, ...] = ()

    @property
    def total(self) -> int:
        """Bytes of a replica."""
        return sum(row.total for row in self.needs)


@dataclass(frozen=True)
class Plan:
    """The answer. `replicas` has what a rate asks for, by `curves`; `packing` is None on a CPU."""

    question: Question
    services: tuple[ServicePlan, ...]
    packing: Packing | None
    speeds: tuple[Speed, ...]
    demands: tuple[Demand, ...]
    replicas: Mapping[str, int]
    curves: Curves | None = None
    training: Training | None = None


def plan(question: Question) -> Plan:
    """Plan.

    Raises:
        CapacityError: Something that is named is not known, or the plan does not fit; it says why, and what would help.
    """
    known = _curves(question.profile) if question.rates else None
    shapes = _shapes(question)
    services = tuple(_service(name, rows, question) for name, rows in shapes.items())
    if question.gpu:
        for row in services:
            _check(row, shapes[row.service], question, question.gpu)
    elif question.memory_bytes:
        _check_machine(services, question)
    packing = None
    if question.gpu:
        packing = pack({row.service: row.total for row in services if row.needs}, question.gpu)
        _check_sharing(packing, services, question, question.gpu)
    training = qlora(shape(question.adapt), question.recipe) if question.adapt else None
    if training and question.gpu:
        check(training, question.gpu)
    instead = {"generation": VLLM} if VLLM in shapes else {}
    asked = demands(question.rates, known, instead) if known else ()
    for row in services:
        if question.gpu and not row.needs and any(demand.service == row.service for demand in asked):
            raise CapacityError(f"--rate: the curves are of GPUs, and {row.service} is on CPUs: add --quantization")
    pods = replicas(asked, question.share)
    return Plan(question, services, packing, _speeds(services, question), asked, pods, known, training)


def _shapes(question: Question) -> dict[str, list[Shape]]:
    """The models by what is deployed for them, in the order of the profile."""
    try:
        profile = catalogue.profile(question.profile)
    except NotFound as error:
        raise CapacityError(f"--profile: {error}") from error
    ids = [model for row in profile.services.values() for model in row.models]
    found: dict[str, list[Shape]] = {}
    for row in map(shape, [*ids, *question.extra]):
        found.setdefault(_deployed(row, question), []).append(row)
    return found


def _deployed(row: Shape, question: Question) -> str:
    """vLLM is a server of its own; every other engine runs within its service."""
    return VLLM if engine_of(row, question.quantization) == "vllm" else row.service


def _service(name: str, shapes: list[Shape], question: Question) -> ServicePlan:
    needs: list[Need] = []
    beside: list[Need] = []
    for row in shapes:
        engine = engine_of(row, question.quantization)
        off = question.gpu is not None and (row.cpu_only or (engine, "gpu") not in COSTS)
        rows = beside if off else needs
        device: Device = "cpu" if off or question.gpu is None else "gpu"
        rows.append(need(row, question.load, device, question.quantization, first=not rows))
    return ServicePlan(name, tuple(needs), tuple(beside))


def _curves(profile: str) -> Curves:
    try:
        return curves(profile)
    except FileNotFoundError as error:
        known = ", ".join(names())
        raise CapacityError(f"--rate: profile {profile} has no curves; {known} have") from error


def _speeds(services: tuple[ServicePlan, ...], question: Question) -> tuple[Speed, ...]:
    gpu = question.gpu
    if gpu is None:
        return ()
    found = [(shape(row.model), row) for service in services for row in service.needs]
    return tuple(bound(known, row, question.load, gpu) for known, row in found if known.writes_text)


def _check(row: ServicePlan, shapes: list[Shape], question: Question, gpu: Gpu) -> None:
    """Refuse a service that exceeds its GPU."""
    if row.total <= gpu.usable:
        return
    worst = max(row.needs, key=lambda one: one.total)
    raise CapacityError(
        f"{row.service} does not fit on one {gpu.title}: it needs {row.total / GB:.1f} GB, "
        f"{(row.total - gpu.usable) / GB:.1f} more than the {gpu.usable / GB:.1f} that a plan may fill "
        f"({gpus.USABLE:.0%} of {gpu.memory_mib * MIB / GB:.1f}). {worst.model} takes {worst.total / GB:.1f} of it, "
        f"most of that for {worst.largest}: {worst.parts[worst.largest] / GB:.1f}. {_helps(row, shapes, question)}"
    )


def _helps(row: ServicePlan, shapes: list[Shape], question: Question) -> str:
    """What would make it fit, tried one after another."""
    load, gpu = question.load, question.gpu
    changes: dict[str, Question] = {}
    if any(known.writes_text for known in shapes):
        for name in ("int8", "awq"):
            changes[f"--quantization {name}"] = replace(question, quantization=name)
        if load.context > 1024:
            changes[f"--context {load.context // 2}"] = replace(question, load=replace(load, context=load.context // 2))
        if load.concurrency > 1:
            half = load.concurrency // 2
            changes[f"--concurrency {half}"] = replace(question, load=replace(load, concurrency=half))
    if any(known.engine == "diffusers" for known in shapes):
        changes["--offload"] = replace(question, load=replace(load, offload=True))
    needed = {change: _service(row.service, shapes, other).total for change, other in changes.items()}
    fits = [f"{change} ({size / GB:.1f} GB)" for change, size in needed.items() if gpu and size <= gpu.usable]
    larger = next((other for other in gpus.table() if other.usable >= row.total), None)
    if larger:
        fits.append(f"--gpu {larger.id}, which has {larger.usable / GB:.1f}")
    if not fits:
        return "No one change helps: not fewer bits, half the context, half the concurrency nor the largest GPU."
    return f"It would fit with {', or '.join(fits)}."


def _check_machine(services: tuple[ServicePlan, ...], question: Question) -> None:
    total = sum(row.total for row in services)
    if total <= question.memory_bytes:
        return
    worst = max((one for row in services for one in row.needs), key=lambda one: one.total)
    raise CapacityError(
        f"the profile does not fit on the machine: it needs {total / GB:.1f} GB, "
        f"{(total - question.memory_bytes) / GB:.1f} more than --memory-gb. {worst.model} takes "
        f"{worst.total / GB:.1f}, most of that for {worst.largest}: {worst.parts[worst.largest] / GB:.1f}."
    )


def _check_sharing(packing: Packing, services: tuple[ServicePlan, ...], question: Question, gpu: Gpu) -> None:
    if question.sharing == "mig" and not packing.cut:
        without = [service for service, profile in packing.slices.items() if profile is None]
        why = f"no slice holds {', '.join(without)}" if without else "it has no MIG"
        raise CapacityError(f"--share mig: a {gpu.title} cannot be cut for this: {why}")
    if question.sharing == "time" and len(packing.shared) > 1:
        total = sum(row.total for row in services)
        raise CapacityError(
            f"--share time: nothing keeps pods that take turns on a {gpu.title} apart, and together they need "
            f"{total / GB:.1f} GB of the {gpu.usable / GB:.1f} that a plan may fill"
        )
