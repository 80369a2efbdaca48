"""Streaming: models that answer bit by bit. A call occupies one slot until its last event."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, ServeError
from servekit.scheduling.engines import Model
from servekit.scheduling.queue import Job, Run
from servekit.scheduling.scheduler import Scheduler
from servekit.scheduling.service_time import FullPrice

AnyModel = TypeVar("AnyModel", bound=Model)
Event = TypeVar("Event")

MAX_PENDING = 64  # events that may wait for a slow reader before the engine waits, too
PATIENCE_SECONDS = 0.1  # how often an engine that waits for a slow reader looks at the cancellation token


@dataclass(frozen=True, slots=True)
class _End:
    """The last entry of a stream."""

    error: ServeError | None = None


@dataclass(frozen=True, slots=True)
class _Stream:
    """What a slot's thread writes and its caller reads."""

    work: Callable[[Any, CancellationToken], Iterator[Any]]
    events: asyncio.Queue[Any] = field(default_factory=asyncio.Queue)
    room: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(MAX_PENDING))


class StreamScheduler(Scheduler, Generic[AnyModel]):
    """The queue of a streaming model.

    Args:
        spec: The model.
        models: One entry a slot: `[model] * 4` for an engine with four slots of its own.
        telemetry: Where the scheduler's metrics go.
        max_queue_cost: What may wait for a slot.
    """

    def __init__(
        self, spec: ModelSpec, models: Sequence[AnyModel], telemetry: Telemetry, *, max_queue_cost: float
    ) -> None:
        super().__init__(spec, models, telemetry, max_queue_cost=max_queue_cost)
        self._full_price = FullPrice(len(models))
        self.model: AnyModel = models[0]  # for what needs no slot: its names, its limits, its checks

    async def stream(
        self, work: Callable[[AnyModel, CancellationToken], Iterator[Event]], cost: float = 1.0
    ) -> AsyncGenerator[Event, None]:
        """Run `work` on the thread of the next free slot and pass its events on.

        `work` looks at the cancellation token between steps and stops when it is set.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: What the model said.
        """
        stream = _Stream(work)
        job = self._admit(stream, cost)
        try:
            await job.future
            while True:
                event = await stream.events.get()
                if isinstance(event, _End):
                    if event.error is not None:
                        raise event.error
                    return
                stream.room.release()
                yield event
        finally:
            job.cancellation.cancel()  # whoever stopped reading no longer waits

    @property
    def _price(self) -> float:
        return self._full_price.seconds_per_cost

    def _learn(self, run: Run) -> None:
        super()._learn(run)
        if run.cost and run.seconds:
            self._full_price.learn(run.beside, run.seconds / run.cost)

    def _work(self, model: Any) -> None:
        while jobs := self._queue.take(most=1):
            (job,) = jobs
            with self._ending(job) as put, self._running(jobs):
                self._answer([(job, None)])
                self._run(model, job, put)

    def _run(self, model: Any, job: Job, put: Callable[[Any], None]) -> None:
        stream: _Stream = job.item
        events = stream.work(model, job.cancellation)
        try:
            for event in events:
                while not stream.room.acquire(timeout=PATIENCE_SECONDS):
                    job.cancellation.raise_if_cancelled()
                put(event)
            job.cancellation.raise_if_cancelled()
        finally:
            if isinstance(events, Generator):
                events.close()

    @contextmanager
    def _ending(self, job: Job) -> Generator[Callable[[Any], None], None, None]:
        """Whatever happens, the reader hears of the end."""

        def put(event: Any) -> None:
            self._loop.call_soon_threadsafe(job.item.events.put_nowait, event)

        try:
            yield put
        except EngineCrashed as error:
            self._gone(error)
            put(_End(error))
            raise
        except BaseException as error:  # the panic of a Rust extension is no Exception
            put(_End(self._outcome(error)))
        else:
            put(_End())
