"""A scheduler: one model, the queue before it, and the permit that guards the queue.

The event loop admits jobs; each engine has a thread of its own that takes them,
so that an engine never waits for the loop between two runs.
"""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken, current
from servekit.rpc.errors import EngineCrashed, Internal, Overloaded, ServeError, Unavailable, reason
from servekit.scheduling.engines import REVIVAL_SECONDS, Engines, Model
from servekit.scheduling.queue import Job, JobQueue, Run

log = logging.getLogger(__name__)

SMOOTHING = 0.2  # how much of a new measurement enters the running estimate of seconds per cost
PROMISED_SHARE = 0.8  # of what is left of a deadline: estimates err, and an answer has a way to go


def smooth(known: float, measured: float) -> float:
    """A running estimate, bettered by a new measurement; 0 where nothing is known yet."""
    known = known or measured
    return known + SMOOTHING * (measured - known)


def _resolve(outcomes: Sequence[tuple[Job, object]]) -> None:
    for job, outcome in outcomes:
        job.answer(outcome)


class Scheduler(ABC):
    """The queue of one model. Subclasses say how an engine takes from it.

    Args:
        spec: The model.
        models: The engines, or the slots of one engine: a thread each.
        telemetry: Where the scheduler's metrics go.
        max_queue_cost: How much may wait; what exceeds it is refused at once.
    """

    def __init__(
        self, spec: ModelSpec, models: Sequence[Model], telemetry: Telemetry, *, max_queue_cost: float
    ) -> None:
        self.spec = spec
        self._engines = Engines(spec.id, models, telemetry)
        self._telemetry = telemetry
        self._max_queue_cost = max_queue_cost
        self._queue = JobQueue(self._drop)
        self._lock = threading.Lock()  # guards the next three
        self._running_cost = 0.0
        self._runs = 0
        self._seconds_per_cost = 0.0
        self._wait = telemetry.queue_duration.labels(spec.id)
        self._engine_seconds = telemetry.inference_duration.labels(spec.id)
        self._demand = telemetry.offered_load.labels(spec.id)
        telemetry.queue_depth.labels(spec.id).set_function(lambda: len(self._queue))
        telemetry.queue_cost.labels(spec.id).set_function(lambda: self._queue.cost)

    @property
    def ready(self) -> bool:
        """Whether at least one engine is warm and running."""
        return self._engines.ready

    @property
    def engines(self) -> int:
        """How many engine seconds a second it has: its engines, or the slots of its one engine."""
        return len(self._engines)

    @property
    def wait_seconds(self) -> float:
        """How long what comes now would wait for an engine, as far as can be told; 0 while one is free."""
        return 0.0 if not self._queue and self._runs < self._engines.alive else self._expected_wait()

    async def start(self) -> None:
        """Warm every engine and begin to take jobs.

        Raises:
            ServeError: An engine does not come up.
        """
        self._loop = asyncio.get_running_loop()
        await self._engines.start(self._work)

    async def close(self) -> None:
        """Let the running jobs end, fail the waiting ones, give the engines' memory back."""
        self._engines.stop()
        self._fail_waiting(self._unready())
        self._queue.close()
        await self._engines.join()
        self._fail_waiting(self._unready())  # what was on its way from one queue to the next
        await self._engines.close()

    @abstractmethod
    def _work(self, model: Any) -> None:
        """Take jobs and run them on this thread; return when the scheduler is closed.

        Raises:
            EngineCrashed: The engine has died; `_gone` has been told.
        """

    def _admit(self, item: Any, cost: float) -> Job:
        """Let an item into the queue, or refuse it at once.

        Raises:
            Overloaded: The queue is full, or would not be through before the deadline.
            EngineCrashed: No engine runs.
            Cancelled, DeadlineExceeded: Nobody waits for it.
        """
        self._consider(cost, self._expected_seconds(cost))
        return self._enter(item, cost)

    def _consider(self, cost: float, seconds: float, *, full: bool = False) -> None:
        """Count what is asked for, and refuse at once what there is no room or no time for; raises as `_admit` does."""
        cancellation = current().cancellation
        self._demand.inc(cost * self._price)
        try:
            cancellation.raise_if_cancelled()
            if not self.ready:
                raise self._unready()
            try:
                self._check_room(cost, seconds, cancellation, full=full)
            except Overloaded:
                self._queue.sweep()
                self._check_room(cost, seconds, cancellation, full=full)
        except ServeError as error:
            self._refused(error)
            raise

    def _enter(self, item: Any, cost: float, turn: float = 0.0) -> Job:
        """Let an item into the queue that has been considered."""
        job = Job(item, cost, CancellationToken(parent=current().cancellation), self._loop.create_future(), turn)
        self._put(self._queue, [job])
        return job

    def _check_room(self, cost: float, seconds: float, cancellation: CancellationToken, *, full: bool) -> None:
        promised = self._promised(cost)
        wait = self._expected_wait(promised)
        waiting = bool(self._queue or promised)
        if full or (waiting and self._queue.cost + promised + cost > self._max_queue_cost):
            raise Overloaded(f"the queue of {self.spec.id} is full", retry_after=max(wait, 0.05))
        if wait and wait + seconds > cancellation.remaining_seconds() * PROMISED_SHARE:
            raise Overloaded(f"{self.spec.id} cannot answer before the deadline", retry_after=max(wait, 0.05))

    def _promised(self, cost: float) -> float:  # noqa: ARG002
        """What was admitted, is yet to come, and will run before so much that comes now is through."""
        return 0.0

    @property
    def _price(self) -> float:
        """Engine seconds that a cost is counted as in the demand."""
        return self._seconds_per_cost

    def _expected_wait(self, promised: float = 0.0) -> float:
        """Seconds until an engine would take what comes now, after so much that is yet to come."""
        return (self._queue.cost + self._running_cost + promised) * self._seconds_per_cost / max(1, self._engines.alive)

    def _expected_seconds(self, cost: float) -> float:
        """Seconds that an engine would work at so much."""
        return cost * self._seconds_per_cost

    def _put(self, queue: JobQueue, jobs: list[Job]) -> None:
        """Queue jobs; fail them if the last engine has died meanwhile, for nobody would take them."""
        queue.put(jobs)
        if not self.ready:
            self._fail_waiting(self._unready())

    def _unready(self) -> ServeError:
        if self._engines.stopping:
            return Unavailable("the service is stopping", retry_after=1.0)
        return EngineCrashed(f"the engine of {self.spec.id} is not running", retry_after=REVIVAL_SECONDS)

    def _drop(self, job: Job) -> None:
        """Answer a job that nobody waits for, or whose deadline has passed, without running it."""
        try:
            job.cancellation.raise_if_cancelled()
        except ServeError as error:
            self._refused(error)
            self._answer([(job, error)])

    @contextmanager
    def _running(self, jobs: Sequence[Job]) -> Iterator[Run]:
        """While an engine runs these jobs together."""
        cost = sum(job.cost for job in jobs)
        with self._lock:
            self._running_cost += cost
            self._runs += 1
            first = self._runs
        run = Run(jobs, cost, time.monotonic())
        self._loop.call_soon_threadsafe(self._report_wait, jobs, run.began)
        try:
            yield run
        except BaseException:
            run.failed = True
            raise
        finally:
            run.ended = time.monotonic()
            with self._lock:
                run.beside = (first + self._runs) / 2
                self._runs -= 1
                self._running_cost = max(0.0, self._running_cost - cost)
                # One that broke off says what its work costs at least.
                if run.whole or run.seconds > cost * self._seconds_per_cost > 0:
                    self._learn(run)
            self._loop.call_soon_threadsafe(self._report, run)

    def _learn(self, run: Run) -> None:
        """Better the estimates by a run that has ended."""
        self._seconds_per_cost = smooth(self._seconds_per_cost, run.seconds / run.cost if run.cost else 0.0)

    # Counting happens on the event loop, so that an engine need not wait for it.

    def _report_wait(self, jobs: Sequence[Job], began: float) -> None:
        """Count jobs that an engine has taken."""
        for job in jobs:
            trace = self._telemetry.past_span("queue", job.context, job.queued, began, model=self.spec.id)
            self._wait.observe(began - job.queued, trace)

    def _report(self, run: Run) -> None:
        """Count a run that has ended."""
        size, cost, trace = len(run.jobs), run.cost, None
        for job in run.jobs:
            span = self._telemetry.past_span(
                "engine", job.context, run.began, run.ended, model=self.spec.id, batch_size=size, batch_cost=cost
            )
            trace = trace or span
        self._engine_seconds.observe(run.seconds, trace)

    def _answer(self, outcomes: Sequence[tuple[Job, object]]) -> None:
        """Hand results and errors to their callers, on the event loop."""
        self._loop.call_soon_threadsafe(_resolve, outcomes)

    def _outcome(self, error: BaseException) -> ServeError:
        """What a caller is told of an exception; one that is not in the tree is a bug, and logged."""
        if isinstance(error, ServeError):
            return error
        log.error("%s failed", self.spec.id, exc_info=error)
        return Internal()

    def _gone(self, error: EngineCrashed) -> None:
        """An engine has died. Said before its callers are answered, so that they find the scheduler unready."""
        self._engines.lose(error)
        if not self.ready:
            self._fail_waiting(error)

    def _fail_waiting(self, error: ServeError) -> None:
        jobs = self._drain()
        for _ in jobs:
            self._refused(error)
        self._answer([(job, error) for job in jobs])

    def _drain(self) -> list[Job]:
        """Every job that waits, taken out."""
        return self._queue.drain()

    def _refused(self, error: ServeError) -> None:
        self._telemetry.rejected_requests.labels(self.spec.id, reason(error)).inc()
