"""Tensor models: any network on the array port, batched along its first axis."""

from collections.abc import Sequence

import numpy as np

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import InvalidArgument, ServeError
from servekit.models.backend import Arrays, TensorBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler

WARM_EXTENT = 64  # the size of a dynamic axis, enough for the strides of a convolutional network


class TensorModel:
    """A batch model whose items are named arrays; items of equal shapes share a run of the network."""

    def __init__(self, backend: TensorBackend) -> None:
        self.backend = backend

    def warm(self) -> None:
        shapes = {spec: [1, *(n if n > 0 else WARM_EXTENT for n in spec.shape[1:])] for spec in self.backend.inputs}
        self.backend.infer({spec.name: np.zeros(shape, spec.dtype) for spec, shape in shapes.items()})

    def close(self) -> None:
        self.backend.close()

    def prepare(self, request: Arrays) -> Arrays:
        """Check the arrays against the network's inputs.

        Raises:
            InvalidArgument: A name, dtype or shape differs from the network's; the error's field names the input.
        """
        wanted = {spec.name: spec for spec in self.backend.inputs}
        for name in request.keys() ^ wanted.keys():
            problem = "is missing" if name in wanted else "is unknown"
            raise InvalidArgument(
                f"input {cut(name)!r} {problem}; inputs are {', '.join(wanted)}", field=f"inputs.{cut(name)}"
            )
        rows = {array.shape[0] if array.ndim else 0 for array in request.values()}
        for name, spec in wanted.items():
            array = request[name]
            fits = len(array.shape) == len(spec.shape) and all(
                want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
            )
            if not fits or array.size == 0 or array.dtype != spec.dtype or len(rows) != 1:
                raise InvalidArgument(
                    f"input {cut(name)!r} must be {spec.dtype} of shape {list(spec.shape)} with as many rows as the "
                    f"others, got {array.dtype} of shape {list(array.shape)}",
                    field=f"inputs.{name}",
                )
        return request

    def run(self, items: Sequence[Arrays], cancellation: CancellationToken) -> Sequence[Arrays | ServeError]:
        groups: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for index, item in enumerate(items):
            shape = tuple(item[spec.name].shape[1:] for spec in self.backend.inputs)
            groups.setdefault(shape, []).append(index)
        results: dict[int, Arrays] = {}
        for indexes in groups.values():
            cancellation.raise_if_cancelled()
            results.update(zip(indexes, self._infer([items[index] for index in indexes]), strict=True))
        return [results[index] for index in range(len(items))]

    def _infer(self, items: Sequence[Arrays]) -> list[Arrays]:
        if len(items) == 1:
            return [self.backend.infer(items[0])]
        inputs = {name: np.concatenate([item[name] for item in items]) for name in items[0]}
        outputs = self.backend.infer(inputs)
        first = self.backend.inputs[0].name
        results: list[Arrays] = []
        start = 0
        for item in items:
            end = start + len(item[first])
            results.append({name: array[start:end] for name, array in outputs.items()})
            start = end
        return results


class TensorScheduler(BatchScheduler[Arrays, Arrays]):
    """The queue of a tensor model; the cost of an item is its rows.

    Args:
        model_spec: The model.
        backends: Its engines, each with a thread.
        telemetry: Receives the scheduler's metrics and spans.
        max_batch_rows: The most rows of one run.
        max_queue_rows: The most rows that may wait.
    """

    def __init__(
        self,
        model_spec: ModelSpec,
        backends: Sequence[TensorBackend],
        telemetry: Telemetry,
        *,
        max_batch_rows: int = 64,
        max_queue_rows: int = 1024,
    ) -> None:
        models = [TensorModel(backend) for backend in backends]
        super().__init__(
            model_spec, models, telemetry, max_batch_cost=max_batch_rows, max_queue_cost=max_queue_rows, prepares=False
        )
        self.backend = backends[0]

    async def infer(self, arrays: Arrays) -> Arrays:
        """Run the rows of one request, possibly in a batch with rows of others.

        Raises:
            ServeError: As `submit`.
        """
        rows = max((array.shape[0] for array in arrays.values() if array.ndim), default=1)
        return await self.submit(arrays, float(max(rows, 1)))
