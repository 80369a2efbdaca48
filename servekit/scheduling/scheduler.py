"""A scheduler: one model, the queue before it, and the admission control that guards the queue.

The event loop admits work items; each engine has a thread of its own that takes
them, so that an engine never waits for the loop between two runs.
"""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import nan
from typing import Any

from servekit.context import CancellationToken, current
from servekit.errors import EngineCrashed, Internal, Overloaded, ServeError, Unavailable
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.admission import Admission, Backlog
from servekit.scheduling.engines import RESTART_SECONDS, Engines, Model
from servekit.scheduling.metrics import SchedulerMetrics
from servekit.scheduling.queue import FairQueue, WorkItem
from servekit.scheduling.run import Run
from servekit.scheduling.service_time import ServiceTimeModel
from servekit.scheduling.snapshot import Snapshot

log = logging.getLogger(__name__)


class Scheduler(ABC):
    """The queue of one model. Subclasses say how an engine takes from it.

    Args:
        spec: The model.
        models: The engines, or the slots of one engine: one entry per thread.
        telemetry: Receives the scheduler's metrics and spans.
        admission: Decides what may wait.
        service_time: Learns from each run.
        clock: The current time in seconds.
    """

    def __init__(
        self,
        spec: ModelSpec,
        models: Sequence[Model],
        telemetry: Telemetry,
        admission: Admission,
        service_time: ServiceTimeModel,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self._engines = Engines(spec.id, models, telemetry)
        self._admission = admission
        self._service_time = service_time
        self._clock = clock
        self._queue = FairQueue(self._drop)
        self._lock = threading.Lock()  # guards the next and the service time
        self._runs: list[Run] = []
        self._metrics = SchedulerMetrics(spec.id, telemetry, self._queue)

    @property
    def ready(self) -> bool:
        """Whether at least one engine is warm and running."""
        return self._engines.ready

    @property
    def engines(self) -> int:
        """Its engine seconds per second: its engines, or the slots of its one engine."""
        return len(self._engines)

    @property
    def wait_seconds(self) -> float:
        """Predicted seconds until an engine takes what arrives now; 0 while one is free."""
        backlog = self._backlog()
        free = not backlog.queued_items and backlog.started_items < backlog.engines
        return 0.0 if free else self._admission.wait_seconds(backlog)

    def snapshot(self) -> Snapshot:
        """The scheduler's state at this moment."""
        with self._lock:
            runs = tuple(self._runs)
        backlog = self._backlog()
        running_cost = sum(run.cost for run in runs)
        return Snapshot(
            queued_items=backlog.queued_items,
            queued_cost=backlog.queued_cost,
            prepared_cost=backlog.started_cost - running_cost,
            reserved_cost=self._admission.reserved_cost(),
            runs=len(runs),
            running_items=sum(len(run.items) for run in runs),
            running_cost=running_cost,
            engines_alive=backlog.engines,
            seconds_per_cost=self._service_time.seconds_per_cost,
            full_seconds_per_cost=self._service_time.full_seconds_per_cost,
            seconds_per_run=self._service_time.seconds_per_run,
            wait_seconds=self.wait_seconds,
        )

    async def start(self) -> None:
        """Warm every engine and begin to take work.

        Raises:
            ServeError: An engine does not start.
        """
        self._loop = asyncio.get_running_loop()
        await self._engines.start(self._work)

    async def close(self) -> None:
        """Let running work end, fail what waits, release the engines' memory."""
        self._engines.stop()
        self._fail_waiting(self._unready())
        self._queue.close()
        await self._engines.join()
        self._fail_waiting(self._unready())  # what was between two queues before
        await self._engines.close()

    @abstractmethod
    def _work(self, model: Any) -> None:
        """Take items and run them on this thread; return when the scheduler is closed.

        Raises:
            EngineCrashed: The engine has crashed; `_mark_unhealthy` was called.
        """

    def _admit(self, cost: float, seconds: float, check: Callable[..., None] | None = None) -> None:
        """Count the offered load, and reject at once what there is no room or no time for.

        Args:
            cost: The item's cost.
            seconds: How long an engine will work at it.
            check: The rule of `Admission` to check by; `admit` without one.

        Raises:
            Overloaded: The queue is full, or the item would not be done before its deadline.
            EngineCrashed: No engine runs.
            Cancelled, DeadlineExceeded: The result is no longer wanted.
        """
        check = check or self._admission.admit
        cancellation = current().cancellation
        self._offer(cost)
        try:
            cancellation.raise_if_cancelled()
            if not self.ready:
                raise self._unready()
            try:
                check(cost, seconds, self._backlog(), cancellation.deadline - self._clock())
            except Overloaded:
                self._queue.sweep()
                check(cost, seconds, self._backlog(), cancellation.deadline - self._clock())
        except ServeError as error:
            self._metrics.count_rejected(error)
            raise

    def _offer(self, cost: float) -> None:
        """Count offered load; each cost is counted once, whether it is admitted or rejected."""
        self._metrics.count_offered(cost * self._service_time.full_seconds_per_cost)

    def _enqueue(self, request: Any, cost: float, *, start_tag: float = 0.0, batch_cost: float = nan) -> WorkItem:
        """Queue a request that was admitted."""
        cancellation, future = CancellationToken(parent=current().cancellation), self._loop.create_future()
        item = WorkItem(request, cost, cancellation, future, start_tag, batch_cost, self._clock())
        self._put(self._queue, [item])
        return item

    def _backlog(self) -> Backlog:
        """The work before what arrives now."""
        runs, cost = self._running_cost()
        return Backlog(len(self._queue), self._queue.cost, runs, cost, self._engines.alive)

    def _running_cost(self) -> tuple[int, float]:
        """How many runs are going on, and their cost together."""
        with self._lock:
            return len(self._runs), sum([run.cost for run in self._runs])

    def _put(self, queue: FairQueue, items: list[WorkItem]) -> None:
        """Queue items; fail them if the last engine has crashed meanwhile, as none would take them."""
        queue.put(items)
        if not self.ready:
            self._fail_waiting(self._unready())

    def _unready(self) -> ServeError:
        if self._engines.stopping:
            return Unavailable("the service is stopping", retry_after=1.0)
        return EngineCrashed(f"the engine of {self.spec.id} is not running", retry_after=RESTART_SECONDS)

    def _drop(self, item: WorkItem) -> None:
        """Answer an item that was cancelled before it ran."""
        error = cancellation_error(item)
        self._metrics.count_rejected(error)
        self._answer([(item, error)])

    @contextmanager
    def _running(self, items: Sequence[WorkItem]) -> Iterator[Run]:
        """Measure the run of items that have just left the queue."""
        self._loop.call_soon_threadsafe(self._metrics.report_wait, items, self._clock())
        with self._measured(Run(items, sum(item.cost for item in items), self._clock())) as run:
            yield run

    @contextmanager
    def _measured(self, run: Run) -> Iterator[Run]:
        """Count a run as going on, and learn from it."""
        with self._lock:
            self._runs.append(run)
            concurrency = len(self._runs)
        try:
            yield run
        except BaseException:
            run.failed = True
            raise
        finally:
            run.ended_at = self._clock()
            with self._lock:
                run.concurrency = (concurrency + len(self._runs)) / 2
                self._runs.remove(run)
                # A run that did not complete gives a lower bound of what its work takes.
                if run.complete or run.seconds > run.cost * self._service_time.seconds_per_cost > 0:
                    self._observe(run)
            self._loop.call_soon_threadsafe(self._report, run)

    def _observe(self, run: Run) -> None:
        """Add a run that has ended to the service time."""
        if run.cost and run.seconds:
            self._service_time.observe(self._load(run), run.seconds / run.cost)

    @abstractmethod
    def _load(self, run: Run) -> float:
        """The load of a run, in the unit of the scheduler's service time."""

    def _report(self, run: Run) -> None:
        """Report a run that has ended, on the event loop, so that the engine need not wait for it."""
        self._metrics.report_run(run)

    def _answer(self, outcomes: Sequence[tuple[WorkItem, object]]) -> None:
        """Hand results and errors to their callers, on the event loop."""
        self._loop.call_soon_threadsafe(_resolve, outcomes)

    def _outcome(self, error: BaseException) -> ServeError:
        """The error that a caller gets for an exception; one outside of the tree is a bug, and logged."""
        if isinstance(error, ServeError):
            return error
        log.error("%s failed", self.spec.id, exc_info=error)
        return Internal()

    def _mark_unhealthy(self, error: EngineCrashed) -> None:
        """Count an engine as crashed; called before its callers are answered, so that they find it unready."""
        self._engines.mark_unhealthy(error)
        if not self.ready:
            self._fail_waiting(error)

    def _fail_waiting(self, error: ServeError) -> None:
        items = self._drain()
        for _ in items:
            self._metrics.count_rejected(error)
        self._answer([(item, error) for item in items])

    def _drain(self) -> list[WorkItem]:
        """Take out every item that waits."""
        return self._queue.drain()


def cancellation_error(item: WorkItem) -> ServeError:
    """The reason why an item was cancelled: its caller left, or its deadline passed."""
    try:
        item.cancellation.raise_if_cancelled()
    except ServeError as error:
        return error
    raise RuntimeError("the item was not cancelled")


def _resolve(outcomes: Sequence[tuple[WorkItem, object]]) -> None:
    for item, outcome in outcomes:
        item.resolve(outcome)
