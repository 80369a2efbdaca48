"""Dynamic batching: requests of several callers in one run of the engine.

While a batch runs, the next items are prepared; the moment the engine is free it
takes whatever is prepared, up to a budget of cost. Nothing waits for a batch to fill.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar, cast

from servekit.context import CancellationToken
from servekit.errors import EngineCrashed, InvalidArgument, OutOfMemory, ServeError
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.admission import Admission, Backlog
from servekit.scheduling.engines import Model
from servekit.scheduling.queue import FairQueue, WorkItem
from servekit.scheduling.run import Run
from servekit.scheduling.scheduler import Scheduler
from servekit.scheduling.service_time import ServiceTimeModel
from servekit.scheduling.session import Session

Request = TypeVar("Request")
Item = TypeVar("Item")
Result = TypeVar("Result")
RequestIn = TypeVar("RequestIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class BatchModel(Model, Protocol[RequestIn, Item, ResultOut]):
    """A model that takes several items in one run."""

    def prepare(self, request: RequestIn) -> Item:
        """Decode or tokenise one request, on the scheduler's preparing thread.

        Raises:
            ServeError: The request is bad; its neighbours are not affected.
        """

    def run(self, items: Sequence[Item], cancellation: CancellationToken) -> Sequence[ResultOut | ServeError]:
        """Run the items, on this engine's thread; one result or error per item, in their order.

        The cancellation token is cancelled once all their callers have left or are late.

        Raises:
            OutOfMemory: There is no memory for so many; the scheduler halves them and tries again.
            EngineCrashed: The engine has crashed.
        """


class BatchCancellation(CancellationToken):
    """Cancelled once every item of a batch is."""

    __slots__ = ("_items",)

    def __init__(self, items: Sequence[WorkItem]) -> None:
        super().__init__(max(item.cancellation.deadline for item in items))
        self._items = items

    @property
    def disconnected(self) -> bool:
        return all(item.cancellation.disconnected for item in self._items)

    @property
    def cancelled(self) -> bool:
        return all(item.cancellation.cancelled for item in self._items)


class BatchScheduler(Scheduler, Generic[Request, Result]):
    """The queue of a batch model.

    Args:
        spec: The model.
        models: One or more instances of it; each has a thread of its own.
        telemetry: Receives the scheduler's metrics and spans.
        max_batch_cost: The cost of one run; an item that costs more runs alone. 0 runs every item alone.
        max_queue_cost: The cost that may wait.
        max_sessions: The most concurrent sessions, each of which holds memory.
        prepares: Whether `prepare` has its own thread; otherwise the engine's thread does it.
        clock: The current time in seconds.
    """

    def __init__(
        self,
        spec: ModelSpec,
        models: Sequence[BatchModel[Request, Any, Result]],
        telemetry: Telemetry,
        *,
        max_batch_cost: float,
        max_queue_cost: float,
        max_sessions: int = sys.maxsize,
        prepares: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        service_time = ServiceTimeModel.of_batches(max_batch_cost)
        admission = Admission(spec.id, service_time, max_queue_cost=max_queue_cost, max_reservations=max_sessions)
        super().__init__(spec, models, telemetry, admission, service_time, clock)
        self.model: Any = models[0]  # for what needs no run: its limits, its checks
        self._max_batch_cost = max_batch_cost
        self._prepares = prepares
        self._prepared = FairQueue(self._drop)
        self._batch_size = telemetry.batch_size.labels(spec.id)
        self._batch_cost = telemetry.batch_cost.labels(spec.id)

    async def submit(self, request: Request, cost: float = 1.0) -> Result:
        """Run one item, possibly in a batch with items of other callers.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: The model rejected this item.
        """
        self._admit(cost, self._service_time.seconds(cost, runs=1))
        return await self._result(self._enqueue(request, cost))

    @asynccontextmanager
    async def session(self, cost: float, concurrency: int = 1) -> AsyncIterator[Session[Request, Result]]:
        """Admit, or reject at once, items that arrive one by one; what is admitted is not rejected in the middle.

        Sessions share the engines fairly by cost. Their load is counted now, by the share of reservations that was
        used so far.

        Args:
            cost: The most that all items may cost together.
            concurrency: The most items that run concurrently, each on its own engine.

        Raises:
            Overloaded: There is no room or no time; nothing was admitted.
            EngineCrashed: No engine runs.
            Cancelled, DeadlineExceeded: The result is no longer wanted.
        """
        calibration = self._admission.calibration
        expected = cost * calibration.used_share
        engines = max(1, min(concurrency, self._engines.alive))
        seconds = self._service_time.backlog_seconds(expected) / engines
        self._admit(expected, seconds, self._admission.admit_reservation)
        with self._admission.reserve(Session(self._submit_next, expected)) as session:
            yield session
            calibration.observe(cost, session.spent)

    async def _submit_next(self, session: Session[Request, Result], request: Request, cost: float) -> Result:
        """Run the next item of a session; cost beyond its reservation is counted as offered load now."""
        self._offer(max(0.0, cost - session.left))
        item = self._enqueue(request, cost, start_tag=session.start_tag)
        session.spent += cost
        session.start_tag = item.start_tag + cost
        return await self._result(item)

    async def _result(self, item: WorkItem) -> Result:
        try:
            return cast("Result", await item.future)
        finally:
            item.cancellation.cancel()  # a caller that was cancelled here no longer waits

    def _backlog(self) -> Backlog:
        runs, cost = self._running_cost()
        started_items, started_cost = runs + len(self._prepared), cost + self._prepared.cost
        return Backlog(len(self._queue), self._queue.cost, started_items, started_cost, self._engines.alive)

    async def start(self) -> None:
        await super().start()
        if self._prepares:
            self._engines.start_thread("prepare", self._prepare_all, self.model)

    async def close(self) -> None:
        self._prepared.close()
        await super().close()

    def _prepare_all(self, model: BatchModel[Request, Any, Result]) -> None:
        """Prepare items on this thread, one batch ahead of every engine, until the queue is closed."""
        engines = len(self._engines)
        while items := self._queue.take(self._max_batch_cost):
            self._put(self._prepared, self._prepare(model, items))
            self._prepared.wait_for_room(self._max_batch_cost * engines, engines)

    def _prepare(self, model: BatchModel[Request, Any, Result], items: Sequence[WorkItem]) -> list[WorkItem]:
        """Prepare items and answer those that fail: a bad item never fails its neighbours."""
        prepared = []
        for item in items:
            try:
                item.request = model.prepare(item.request)
            except BaseException as error:  # a panic of a Rust extension is no Exception
                self._answer([(item, self._outcome(error))])
            else:
                prepared.append(item)
        return prepared

    def _work(self, model: BatchModel[Request, Any, Result]) -> None:
        source = self._prepared if self._prepares else self._queue
        while items := source.take(self._max_batch_cost):
            if not self._prepares and not (items := self._prepare(model, items)):
                continue
            try:
                with self._running(items) as run:
                    outcomes = self._run(model, items)
                    run.failed = all(isinstance(outcome, ServeError) for _, outcome in outcomes)
            except EngineCrashed as error:
                self._mark_unhealthy(error)
                self._answer([(item, error) for item in items])
                raise
            self._answer(outcomes)

    def _run(self, model: BatchModel[Request, Any, Result], items: Sequence[WorkItem]) -> list[tuple[WorkItem, object]]:
        try:
            results: Sequence[object] = model.run([item.request for item in items], BatchCancellation(items))
            if len(results) != len(items):
                raise RuntimeError(f"the model returned {len(results)} results for {len(items)} items")
        except EngineCrashed:
            raise
        except (OutOfMemory, MemoryError, InvalidArgument) as error:
            if len(items) > 1:  # too many, or a bad one among them: halve until it is alone
                middle = len(items) // 2
                return self._run(model, items[:middle]) + self._run(model, items[middle:])
            no_memory = OutOfMemory(f"{self.spec.id} has no memory for this item")
            return [(items[0], no_memory if isinstance(error, MemoryError) else error)]
        except BaseException as error:  # an engine's error, or a panic, fails its batch and nothing else
            outcome = self._outcome(error)
            return [(item, outcome) for item in items]
        return list(zip(items, results, strict=True))

    def _load(self, run: Run) -> float:
        return 1 / run.cost

    def _report(self, run: Run) -> None:
        self._batch_size.observe(len(run.items))
        self._batch_cost.observe(run.cost)
        super()._report(run)

    def _drain(self) -> list[WorkItem]:
        return self._prepared.drain() + super()._drain()
