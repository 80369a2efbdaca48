"""Packing of services onto GPUs.

By default a service has a GPU to itself. Two ways to share one: MIG cuts it into slices with memory and
compute of their own; time-slicing lets processes take turns, with nothing between them: one that takes too
much memory ends the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from capacity.planning.gpus import COMPUTE_SLICES, MEMORY_SLICES, Gpu

Sharing = Literal["none", "mig", "time"]


@dataclass(frozen=True)
class Packing:
    """The placement of services on GPUs.

    Attributes:
        shared: GPUs by the services on each, where they share by memory alone (time-slicing).
        slices: The MIG profile of each service; None where no slice holds it, empty for a GPU without MIG.
        cut: GPUs by the services on each, where they are cut into those slices; empty where one has none.
    """

    shared: tuple[tuple[str, ...], ...]
    slices: Mapping[str, str | None]
    cut: tuple[tuple[str, ...], ...]


def pack(needs: Mapping[str, int], gpu: Gpu) -> Packing:
    """Pack services by first-fit decreasing.

    Args:
        needs: Bytes of each service, each of which fits alone.
        gpu: The type of GPU.
    """
    shared = _first_fit({name: (size,) for name, size in needs.items()}, (gpu.usable,))
    slices = {name: gpu.slice_for(size) for name, size in needs.items()} if gpu.mig else {}
    sizes = {name: gpu.mig[profile] for name, profile in slices.items() if profile}
    cut = _first_fit(sizes, (COMPUTE_SLICES, MEMORY_SLICES)) if len(sizes) == len(needs) else ()
    return Packing(shared, slices, cut)


def _first_fit(sizes: Mapping[str, tuple[int, ...]], room: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    """Bins by the names in each; sizes and room have the same dimensions, the last of which orders them."""
    bins: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: sizes[name][::-1], reverse=True):
        for content in bins:
            filled = [sum(sizes[other][axis] for other in content) for axis in range(len(room))]
            if all(used + size <= most for used, size, most in zip(filled, sizes[name], room, strict=True)):
                content.append(name)
                break
        else:
            bins.append([name])
    return tuple(tuple(content) for content in bins)
