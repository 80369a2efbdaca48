"""Errors of plans that do not fit, with changes that would make them fit."""

from collections.abc import Mapping
from dataclasses import replace

from capacity.errors import CapacityError
from capacity.planning import gpus
from capacity.planning.deployment import DeployedService, PlanRequest, deployed
from capacity.planning.gpus import MIB, Gpu
from capacity.planning.memory import GB
from capacity.planning.packing import Packing
from capacity.planning.precision import Name
from capacity.planning.shapes import Shape


def check_room(services: tuple[DeployedService, ...], shapes: Mapping[str, list[Shape]], request: PlanRequest) -> None:
    """Check that each service fits on a GPU, or all of them on the machine.

    Raises:
        CapacityError: A service does not fit.
    """
    if request.gpu:
        for row in services:
            _check_gpu(row, shapes[row.service], request, request.gpu)
    elif request.sharing != "none":
        raise CapacityError(f"--share {request.sharing}: with --gpu none there is none to share")
    elif request.memory_bytes:
        _check_machine(services, request)


def _check_gpu(row: DeployedService, shapes: list[Shape], request: PlanRequest, gpu: Gpu) -> None:
    if row.total <= gpu.usable:
        return
    worst = max(row.needs, key=lambda one: one.total)
    raise CapacityError(
        f"{row.service} does not fit on one {gpu.title}: it needs {row.total / GB:.1f} GB, "
        f"{(row.total - gpu.usable) / GB:.1f} more than the {gpu.usable / GB:.1f} that a plan may fill "
        f"({gpus.USABLE:.0%} of {gpu.memory_mib * MIB / GB:.1f}). {worst.model} takes {worst.total / GB:.1f} of it, "
        f"most of that for {worst.largest}: {worst.parts[worst.largest] / GB:.1f}. {_helps(row, shapes, request, gpu)}"
    )


def _helps(row: DeployedService, shapes: list[Shape], request: PlanRequest, gpu: Gpu) -> str:
    """Single changes that make it fit, the smallest sufficient one of each kind."""
    load = request.load
    kinds: list[dict[str, PlanRequest]] = []
    if any(known.writes_text for known in shapes):
        names: tuple[Name, ...] = ("int8", "awq")
        kinds.append({f"--quantization {name}": replace(request, quantization=name) for name in names})
        contexts, texts = _halves(load.context, 1024), _halves(load.concurrency, 1)
        kinds.append({f"--context {size}": replace(request, load=replace(load, context=size)) for size in contexts})
        kinds.append(
            {f"--concurrency {size}": replace(request, load=replace(load, concurrency=size)) for size in texts}
        )
    if any(known.engine == "diffusers" for known in shapes):
        kinds.append({"--offload": replace(request, load=replace(load, offload=True))})
    fits: list[str] = []
    for kind in kinds:
        sizes = {change: deployed(row.service, shapes, other).total for change, other in kind.items()}
        fits += [f"{change} ({size / GB:.1f} GB)" for change, size in sizes.items() if size <= gpu.usable][:1]
    larger = next((other for other in gpus.table() if other.usable >= row.total), None)
    if larger:
        fits.append(f"--gpu {larger.id}, which has {larger.usable / GB:.1f}")
    if not fits:
        return "No one change is enough: fewer bits, a shorter context, fewer texts at once or the largest GPU."
    return f"It would fit with {', or '.join(fits)}."


def _halves(size: int, least: int) -> list[int]:
    """Half of it, half of that, and so on."""
    found = []
    while (size := size // 2) >= least:
        found.append(size)
    return found


def _check_machine(services: tuple[DeployedService, ...], request: PlanRequest) -> None:
    total = sum(row.total for row in services)
    if total <= request.memory_bytes:
        return
    worst = max((one for row in services for one in row.needs), key=lambda one: one.total)
    raise CapacityError(
        f"the profile does not fit on the machine: it needs {total / GB:.1f} GB, "
        f"{(total - request.memory_bytes) / GB:.1f} more than --memory-gb. {worst.model} takes "
        f"{worst.total / GB:.1f}, most of that for {worst.largest}: {worst.parts[worst.largest] / GB:.1f}."
    )


def check_sharing(packing: Packing, services: tuple[DeployedService, ...], request: PlanRequest, gpu: Gpu) -> None:
    """Check that the GPU supports the way of sharing and that the services fit.

    Raises:
        CapacityError: The GPU does not support it, or the services do not fit.
    """
    if request.sharing == "mig" and not packing.cut:
        without = [service for service, profile in packing.slices.items() if profile is None]
        why = f"no slice holds {', '.join(without)}" if without else "it has no MIG"
        raise CapacityError(f"--share mig: {gpu.title} cannot be cut for this: {why}")
    if request.sharing == "time" and len(packing.shared) > 1:
        total = sum(row.total for row in services)
        raise CapacityError(
            f"--share time: nothing keeps pods that take turns on one {gpu.title} apart, and together they need "
            f"{total / GB:.1f} GB of the {gpu.usable / GB:.1f} that a plan may fill"
        )
