"""A fake tensor engine: outputs of the right shapes, with configurable latency and failures."""

import time
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.errors import OutOfMemory, ServeError
from servekit.models.backend import Arrays, TensorSpec


class FakeBackend:
    """A network whose output rows depend only on the input row at the same position.

    Its attributes may be changed while it runs.

    Args:
        inputs: The inputs of `infer`.
        outputs: The outputs of `infer`; an axis of varying size after the first has size 1.
        latency_seconds: The time that each `infer` sleeps.
        latency_per_row_seconds: The additional time for each row.
        max_rows: The most rows of one `infer`; more raise `OutOfMemory`. 0 for no bound.
        failure: The error that each `infer` raises.
    """

    def __init__(
        self,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        latency_seconds: float = 0.0,
        latency_per_row_seconds: float = 0.0,
        max_rows: int = 0,
        failure: ServeError | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.latency_seconds = latency_seconds
        self.latency_per_row_seconds = latency_per_row_seconds
        self.max_rows = max_rows
        self.failure = failure

    def infer(self, arrays: Arrays) -> Arrays:
        """Compute each row from its content; see `TensorBackend`."""
        columns = [np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in self.inputs]
        rows = len(columns[0])
        if self.failure is not None:
            raise self.failure
        if self.max_rows and rows > self.max_rows:
            raise OutOfMemory(f"the engine has memory for {self.max_rows} rows, got {rows}")
        if delay := self.latency_seconds + rows * self.latency_per_row_seconds:
            time.sleep(delay)
        seeds = [zlib.crc32(b"".join(column[row].tobytes() for column in columns)) for row in range(rows)]
        return {spec.name: _rows(spec, seeds) for spec in self.outputs}

    def close(self) -> None:
        """There is nothing to free."""


def _rows(spec: TensorSpec, seeds: Sequence[int]) -> NDArray[np.generic]:
    shape = tuple(max(extent, 1) for extent in spec.shape[1:])
    values = [np.random.default_rng(seed).random(shape) for seed in seeds]
    scaled = np.asarray(values).reshape(len(seeds), *shape) * (1 if np.issubdtype(spec.dtype, np.inexact) else 100)
    return scaled.astype(spec.dtype)
