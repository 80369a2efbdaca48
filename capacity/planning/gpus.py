"""The known GPUs, from `gpus.toml`."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from capacity.errors import CapacityError

MIB = 2**20
USABLE = 0.9  # of a GPU's memory: the rest is for the driver, fragmentation and mistakes (vLLM's default as well)
COMPUTE_SLICES, MEMORY_SLICES = 7, 8  # of a GPU in MIG mode


class Gpu(BaseModel):
    """A type of GPU.

    Attributes:
        id: The value of `--gpu`.
        title: The title in tables.
        product: The label of its nodes, `nvidia.com/gpu.product`.
        aliases: Other names.
        memory_mib: The total memory.
        bandwidth_gb_s: The memory bandwidth in 10^9 bytes a second.
        fp16_tflops: Dense 16-bit rate, in 10^12 operations a second.
        int8_tops: Dense 8-bit rate, in 10^12 operations a second.
        mig: Profiles by name: slices of compute, of memory; empty without MIG.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    title: str
    product: str
    aliases: tuple[str, ...] = ()
    memory_mib: int
    bandwidth_gb_s: float
    fp16_tflops: float
    int8_tops: float
    mig: Mapping[str, tuple[int, int]] = {}

    @property
    def usable(self) -> int:
        """The bytes that a plan may use."""
        return round(self.memory_mib * MIB * USABLE)

    def slice_for(self, needed: int) -> str | None:
        """The smallest MIG profile with this many bytes; None if there is none."""
        for name, (_, memory) in sorted(self.mig.items(), key=lambda row: (row[1][1], row[1][0])):
            if needed <= self.usable * memory / MEMORY_SLICES:
                return name
        return None


def table() -> tuple[Gpu, ...]:
    """All known GPUs, the smallest first."""
    rows = tomllib.loads((files("capacity.planning") / "gpus.toml").read_text())
    return tuple(sorted((Gpu(id=name, **row) for name, row in rows.items()), key=lambda gpu: gpu.memory_mib))


def gpu(name: str) -> Gpu:
    """The GPU with this name or alias, case-insensitive.

    Raises:
        CapacityError: There is none.
    """
    for row in table():
        if name.lower() in (row.id.lower(), *(alias.lower() for alias in row.aliases)):
            return row
    known = ", ".join(sorted(name for row in table() for name in (row.id, *row.aliases)))
    raise CapacityError(f"--gpu must be one of {known}, or none for CPUs; got {name!r}")
