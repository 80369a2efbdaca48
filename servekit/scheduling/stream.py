"""Streaming: models that answer event by event. A call occupies one slot until its last event."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from servekit.context import CancellationToken
from servekit.errors import EngineCrashed
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.admission import Admission, Backlog
from servekit.scheduling.engines import Model
from servekit.scheduling.events import EventQueue
from servekit.scheduling.queue import WorkItem
from servekit.scheduling.run import Run
from servekit.scheduling.scheduler import Scheduler
from servekit.scheduling.service_time import ServiceTimeModel

AnyModel = TypeVar("AnyModel", bound=Model)
Event = TypeVar("Event")
Work = Callable[[AnyModel, CancellationToken], Iterator[Event]]

MAX_PENDING = 64  # events that may wait for a slow reader before the engine waits, too
POLL_SECONDS = 0.1  # how often an engine that waits for a slow reader checks the cancellation token


class _Call(EventQueue[Any]):
    """The work of one call, and its events."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Work[Any, Any]) -> None:
        super().__init__(loop)
        self.work = work
        self.room = threading.Semaphore(MAX_PENDING)


class StreamScheduler(Scheduler, Generic[AnyModel]):
    """The queue of a streaming model.

    Args:
        spec: The model.
        models: One entry per slot: `[model] * 4` for an engine with four slots of its own.
        telemetry: Receives the scheduler's metrics and spans.
        max_queue_cost: The cost that may wait for a slot.
        clock: The current time in seconds.
    """

    def __init__(
        self,
        spec: ModelSpec,
        models: Sequence[AnyModel],
        telemetry: Telemetry,
        *,
        max_queue_cost: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        service_time = ServiceTimeModel.of_slots(len(models))
        admission = Admission(spec.id, service_time, max_queue_cost=max_queue_cost)
        super().__init__(spec, models, telemetry, admission, service_time, clock)
        self.model: AnyModel = models[0]  # for what needs no slot: its names, its limits, its checks
        self._preparing: list[float] = []  # estimated costs of calls that are being prepared

    def stream(self, work: Work[AnyModel, Event], cost: float = 1.0) -> AsyncGenerator[Event, None]:
        """Run `work` on the thread of the next free slot and pass its events on.

        `work` checks the cancellation token between steps and stops when it is cancelled.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: The model failed.
        """
        return self._events(lambda: self._submit(work, cost))

    def stream_prepared(
        self, prepare: Callable[[AnyModel], tuple[Work[AnyModel, Event], float]], estimated_cost: float
    ) -> AsyncGenerator[Event, None]:
        """Stream work that has to be prepared first, such as a prompt that is tokenised.

        The call is admitted by an estimate of its cost before anything is computed. Then `prepare` runs on a worker
        thread, and the call waits for a slot with its exact cost.

        Args:
            prepare: Returns the work, as for `stream`, and its exact cost.
            estimated_cost: An estimate of that cost that takes no time.

        Raises:
            Overloaded: The queue is full; nothing was prepared.
            ServeError: `prepare` rejected the request, or the model failed.
        """
        return self._events(lambda: self._submit_prepared(prepare, estimated_cost))

    async def _submit(self, work: Work[AnyModel, Event], cost: float) -> WorkItem:
        self._admit(cost, self._service_time.seconds(cost))
        return self._enqueue(_Call(self._loop, work), cost)

    async def _submit_prepared(
        self, prepare: Callable[[AnyModel], tuple[Work[AnyModel, Event], float]], estimated_cost: float
    ) -> WorkItem:
        self._admit(estimated_cost, self._service_time.seconds(estimated_cost))
        self._preparing.append(estimated_cost)
        try:
            work, cost = await asyncio.to_thread(prepare, self.model)
        except Exception as error:
            raise self._outcome(error) from error
        finally:
            self._preparing.remove(estimated_cost)
        self._offer(max(0.0, cost - estimated_cost))
        return self._enqueue(_Call(self._loop, work), cost)

    async def _events(self, submit: Callable[[], Awaitable[WorkItem]]) -> AsyncGenerator[Any, None]:
        item = await submit()
        call: _Call = item.request
        try:
            await item.future
            async for event in call:
                call.room.release()
                yield event
        finally:
            item.cancellation.cancel()  # a caller that stopped reading no longer waits

    def _backlog(self) -> Backlog:
        runs, cost = self._running_cost()
        queued_items = len(self._queue) + len(self._preparing)
        queued_cost = self._queue.cost + sum(self._preparing)
        return Backlog(queued_items, queued_cost, runs, cost, self._engines.alive)

    def _load(self, run: Run) -> float:
        return run.concurrency

    def _work(self, model: Any) -> None:
        while items := self._queue.take(most=1):
            (item,) = items
            with self._finishing(item), self._running(items):
                self._answer([(item, None)])
                self._run(model, item)

    def _run(self, model: Any, item: WorkItem) -> None:
        call: _Call = item.request
        events = call.work(model, item.cancellation)
        try:
            for event in events:
                while not call.room.acquire(timeout=POLL_SECONDS):
                    item.cancellation.raise_if_cancelled()
                call.put(event)
            item.cancellation.raise_if_cancelled()
        finally:
            if isinstance(events, Generator):
                events.close()

    @contextmanager
    def _finishing(self, item: WorkItem) -> Generator[None, None, None]:
        """End the item's events, also after an error."""
        call: _Call = item.request
        try:
            yield
        except EngineCrashed as error:
            self._mark_unhealthy(error)
            call.finish(error)
            raise
        except BaseException as error:  # a panic of a Rust extension is no Exception
            call.finish(self._outcome(error))
        else:
            call.finish()
