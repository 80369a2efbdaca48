"""A tensor engine without an engine: right shapes, settable slowness and failures."""

import time
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import Arrays, TensorSpec
from servekit.rpc.errors import OutOfMemory, ServeError


class FakeBackend:
    """Gives arrays that depend on nothing but the row they answer.

    Its attributes may be changed while it runs.

    Args:
        inputs: What `infer` takes.
        outputs: What `infer` gives; an axis of unknown extent after the first has extent 1.
        latency_seconds: How long each `infer` takes, slept.
        latency_per_row_seconds: How much longer for each row.
        max_rows: More rows than this are `OutOfMemory`; 0 for no bound.
        failure: What each `infer` raises.
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
        """Answer each row from its own content; see `TensorBackend`."""
        columns = [np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in self.inputs]
        rows = len(columns[0])
        if self.failure is not None:
            raise self.failure
        if self.max_rows and rows > self.max_rows:
            raise OutOfMemory(f"the engine has memory for {self.max_rows} rows, not for {rows}")
        if delay := self.latency_seconds + rows * self.latency_per_row_seconds:
            time.sleep(delay)
        seeds = [zlib.crc32(b"".join(column[row].tobytes() for column in columns)) for row in range(rows)]
        return {spec.name: _rows(spec, seeds) for spec in self.outputs}

    def close(self) -> None:
        """Nothing is held."""


def _rows(spec: TensorSpec, seeds: Sequence[int]) -> NDArray[np.generic]:
    shape = tuple(max(extent, 1) for extent in spec.shape[1:])
    values = [np.random.default_rng(seed).random(shape) for seed in seeds]
    scaled = np.asarray(values).reshape(len(seeds), *shape) * (1 if np.issubdtype(spec.dtype, np.inexact) else 100)
    return scaled.astype(spec.dtype)
