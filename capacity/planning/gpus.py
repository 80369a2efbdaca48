"""The GPUs there are, as data: `gpus.toml`."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from capacity.errors import CapacityError

MIB = 2**20
USABLE = 0.9  # of a GPU's memory: the rest is for the driver, fragmentation and mistakes (vLLM's default as well)
COMPUTE_SLICES, MEMORY_SLICES = 7, 8  # of a GPU in MIG mode


class Gpu(BaseModel):
    """One GPU.

    Attributes:
        id: Its name in `--gpu`.
        title: For people.
        product: The label of its nodes, `nvidia.com/gpu.product`.
        aliases: Other names.
        memory_mib: All of its memory.
        bandwidth_gb_s: Of its memory, in 10^9 bytes a second.
        fp16_tflops: Dense 16-bit rate, in 10^12 operations a second.
        int8_tops: Dense 8-bit rate, in 10^12 operations a second.
        mig: Profiles by name: slices of compute, of memory; empty where it has none.
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
        """Bytes that a plan may fill."""
        return round(self.memory_mib * MIB * USABLE)

    def slice_for(self, needed: int) -> str | None:
        """The smallest MIG profile that holds so many bytes; None where none does."""
        for name, (_, memory) in sorted(self.mig.items(), key=lambda row: (row[1][1], row[1][0])):
            if needed <= self.usable * memory / MEMORY_SLICES:
                return name
        return None


def table() -> tuple[Gpu, ...]:
    """All of them, the smallest first."""
    rows = tomllib.loads((files("capacity.planning") / "gpus.toml").read_text())
    return tuple(sorted((Gpu(id=name, **row) for name, row in rows.items()), key=lambda gpu: gpu.memory_mib))


def gpu(name: str) -> Gpu:
    """The GPU of a name, whatever its case.

    Raises:
        CapacityError: There is none.
    """
    for row in table():
        if name.lower() in (row.id.lower(), *(alias.lower() for alias in row.aliases)):
            return row
    known = ", ".join(sorted(name for row in table() for name in (row.id, *row.aliases)))
    raise CapacityError(f"--gpu {name!r} is not known; it is one of {known}, or none for a CPU")
