"""Batching: models that answer at once, many callers to one run of the engine.

While a batch runs, the next items are prepared; the moment the engine is free it
takes whatever is prepared, up to a budget of cost. Nothing waits for a batch to fill.
"""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import ceil
from typing import Any, Generic, Protocol, TypeVar, cast

from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, InvalidArgument, OutOfMemory, ServeError
from servekit.scheduling.engines import Model
from servekit.scheduling.queue import Job, JobQueue, Run
from servekit.scheduling.scheduler import Scheduler, smooth
from servekit.scheduling.service_time import FullPrice
from servekit.scheduling.session import Promises, Session

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
        """Run the items, on this engine's thread; one result or error an item, in their order.

        The cancellation token is set when nobody waits for any of them.

        Raises:
            OutOfMemory: There was no memory for so many; the scheduler halves them and tries again.
            EngineCrashed: The engine has died.
        """


class _BatchCancellation(CancellationToken):
    """Set when nobody waits for any item of a batch."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(max(job.cancellation.deadline for job in jobs))
        self._jobs = jobs

    @property
    def disconnected(self) -> bool:
        return all(job.cancellation.disconnected for job in self._jobs)

    @property
    def cancelled(self) -> bool:
        return all(job.cancellation.cancelled for job in self._jobs)


class BatchScheduler(Scheduler, Generic[Request, Result]):
    """The queue of a batch model.

    Args:
        spec: The model.
        models: One or more instances of it; each has a thread of its own.
        telemetry: Where the scheduler's metrics go.
        max_batch_cost: What one run may cost; a dearer item runs alone.
        max_queue_cost: What may wait.
        max_sessions: How many sessions there may be at once: each holds memory.
        prepares: Whether `prepare` is worth a thread of its own; else the engine's thread does it.
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
    ) -> None:
        super().__init__(spec, models, telemetry, max_queue_cost=max_queue_cost)
        self.model: Any = models[0]  # for what needs no run: its limits, its checks
        self._max_batch_cost = max_batch_cost
        self._max_sessions = max_sessions
        self._prepares = prepares
        self._prepared = JobQueue(self._drop)
        self._sessions: set[Session[Request, Result]] = set()
        self._promises = Promises()
        self._seconds_per_run = 0.0
        self._full_price = FullPrice(1 / max_batch_cost) if max_batch_cost else None
        self._batch_size = telemetry.batch_size.labels(spec.id)
        self._batch_cost = telemetry.batch_cost.labels(spec.id)

    async def submit(self, request: Request, cost: float = 1.0) -> Result:
        """Run one item with whatever runs beside it.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: What the model said of this item.
        """
        return await self._result(self._admit(request, cost))

    @asynccontextmanager
    async def session(self, promised: float, at_once: int = 1) -> AsyncIterator[Session[Request, Result]]:
        """Admit, or refuse at once, what comes bit by bit; what is admitted is not refused in the middle.

        Sessions share the engines by cost, so that nobody waits for the whole of another's. The demand is counted now,
        by what promises have been worth.

        Args:
            promised: What all of it may cost.
            at_once: How many of its items may be on their way, which as many engines then work at.

        Raises:
            Overloaded: There is no room or no time for so much; nothing was admitted.
            EngineCrashed: No engine runs.
            Cancelled, DeadlineExceeded: Nobody waits for it.
        """
        cost = promised * self._promises.worth
        full = len(self._sessions) >= self._max_sessions
        engines = max(1, min(at_once, self._engines.alive))
        self._consider(cost, self._seconds_together(cost) / engines, full=full)
        session: Session[Request, Result] = Session(self._continue, cost)
        self._sessions.add(session)
        try:
            yield session
            self._promises.learn(promised, session.spent)
        finally:
            self._sessions.discard(session)

    async def _continue(self, session: Session[Request, Result], request: Request, cost: float) -> Result:
        """Run the next item of a session; what it costs beyond what was expected is counted now."""
        self._demand.inc(max(0.0, cost - session.left) * self._price)
        job = self._enter(request, cost, session.turn)
        session.spent += cost
        session.turn = job.turn + cost
        return await self._result(job)

    async def _result(self, job: Job) -> Result:
        try:
            return cast("Result", await job.future)
        finally:
            job.cancellation.cancel()  # whoever was cancelled here no longer waits

    def _promised(self, cost: float) -> float:
        # Sessions take turns: until so much has run, none of them has had more.
        return sum(min(session.left, cost) for session in self._sessions)

    async def start(self) -> None:
        await super().start()
        if self._prepares:
            self._engines.start_thread("prepare", self._prepare_forever, self.model)

    async def close(self) -> None:
        self._prepared.close()
        await super().close()

    def _prepare_forever(self, model: BatchModel[Request, Any, Result]) -> None:
        """The preparing thread's life: stay one batch ahead of every engine."""
        engines = len(self._engines)
        while jobs := self._queue.take(self._max_batch_cost):
            self._put(self._prepared, self._prepare(model, jobs))
            self._prepared.wait_for_room(self._max_batch_cost * engines, engines)

    def _prepare(self, model: BatchModel[Request, Any, Result], jobs: Sequence[Job]) -> list[Job]:
        """The jobs that could be prepared; the others are answered: a bad item never fails its neighbours."""
        prepared = []
        for job in jobs:
            try:
                job.item = model.prepare(job.item)
            except BaseException as error:  # the panic of a Rust extension is no Exception
                self._answer([(job, self._outcome(error))])
            else:
                prepared.append(job)
        return prepared

    def _work(self, model: BatchModel[Request, Any, Result]) -> None:
        source = self._prepared if self._prepares else self._queue
        while jobs := source.take(self._max_batch_cost):
            if not self._prepares and not (jobs := self._prepare(model, jobs)):
                continue
            try:
                with self._running(jobs) as run:
                    outcomes = self._run(model, jobs)
                    run.failed = all(isinstance(outcome, ServeError) for _, outcome in outcomes)
            except EngineCrashed as error:
                self._gone(error)
                self._answer([(job, error) for job in jobs])
                raise
            self._answer(outcomes)

    def _run(self, model: BatchModel[Request, Any, Result], jobs: Sequence[Job]) -> list[tuple[Job, object]]:
        try:
            results: Sequence[object] = model.run([job.item for job in jobs], _BatchCancellation(jobs))
            if len(results) != len(jobs):
                raise RuntimeError(f"{len(results)} results for {len(jobs)} items")
        except EngineCrashed:
            raise
        except (OutOfMemory, MemoryError, InvalidArgument) as error:
            if len(jobs) > 1:  # too many, or a bad one among them: halve until it stands alone
                middle = len(jobs) // 2
                return self._run(model, jobs[:middle]) + self._run(model, jobs[middle:])
            refusal = OutOfMemory(f"{self.spec.id} has no memory for this item")
            return [(jobs[0], refusal if isinstance(error, MemoryError) else error)]
        except BaseException as error:  # an engine's error, or a panic, fails its batch and nothing else
            outcome = self._outcome(error)
            return [(job, outcome) for job in jobs]
        return list(zip(jobs, results, strict=True))

    def _expected_wait(self, promised: float = 0.0) -> float:
        seconds = self._seconds_together(self._queue.cost + self._prepared.cost + self._running_cost + promised)
        if not self._max_batch_cost and not promised:
            runs = len(self._queue) + len(self._prepared) + bool(self._running_cost)
            seconds = min(seconds, runs * self._seconds_per_run)
        return seconds / max(1, self._engines.alive)

    def _seconds_together(self, cost: float) -> float:
        """Seconds that an engine would work at so much, in runs as full as they may be."""
        seconds = cost * self._seconds_per_cost
        if not self._max_batch_cost:
            return seconds
        # Where a run takes as long however full it is, a cost measured in half-empty runs says too much.
        return min(seconds, ceil(cost / self._max_batch_cost) * self._seconds_per_run)

    def _expected_seconds(self, cost: float) -> float:
        return min(super()._expected_seconds(cost), self._seconds_per_run)

    @property
    def _price(self) -> float:
        return self._full_price.seconds_per_cost if self._full_price else super()._price

    def _learn(self, run: Run) -> None:
        super()._learn(run)
        if self._full_price and run.cost and run.seconds:
            self._full_price.learn(1 / run.cost, run.seconds / run.cost)
        self._seconds_per_run = smooth(self._seconds_per_run, run.seconds)

    def _report(self, run: Run) -> None:
        self._batch_size.observe(len(run.jobs))
        self._batch_cost.observe(run.cost)
        super()._report(run)

    def _drain(self) -> list[Job]:
        return self._prepared.drain() + super()._drain()
