"""Continuous batching: models that work in steps. Requests join and leave a running batch between two steps."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any, Generic, TypeVar

from servekit.errors import EngineCrashed, OutOfMemory, ServeError
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.admission import Admission, Backlog
from servekit.scheduling.batch import BatchCancellation
from servekit.scheduling.continuous_batch import BatchMember, ContinuousBatch
from servekit.scheduling.events import EventQueue
from servekit.scheduling.queue import WorkItem
from servekit.scheduling.run import Run
from servekit.scheduling.scheduler import Scheduler, cancellation_error
from servekit.scheduling.service_time import ServiceTimeModel
from servekit.scheduling.snapshot import Snapshot
from servekit.scheduling.step_model import StepModel, StepOutput

Request = TypeVar("Request")
Event = TypeVar("Event")

POLL_SECONDS = 0.01  # how often an engine without a step to run looks for requests that arrive or have begun


class _Call(EventQueue[Any]):
    """A request and its events."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: Any) -> None:
        super().__init__(loop)
        self.request = request


class StepScheduler(Scheduler, Generic[Request, Event]):
    """The queue of a step model.

    Args:
        spec: The model.
        models: One or more instances of it, each with a batch of its own.
        telemetry: Receives the scheduler's metrics and spans.
        max_batch_cost: What the requests in an engine's batch may cost per step; one that costs more runs alone.
        max_queue_cost: The cost, of all steps, that may wait.
        clock: The current time in seconds.
    """

    def __init__(
        self,
        spec: ModelSpec,
        models: Sequence[StepModel[Request, Any, Event]],
        telemetry: Telemetry,
        *,
        max_batch_cost: float,
        max_queue_cost: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        service_time = ServiceTimeModel.of_batches(max_batch_cost)
        admission = Admission(spec.id, service_time, max_queue_cost=max_queue_cost)
        super().__init__(spec, models, telemetry, admission, service_time, clock)
        self.model: Any = models[0]  # for what needs no step: its limits, its checks
        self._max_batch_cost = max_batch_cost
        self._joined_items = 0  # requests in the batches of all engines; the base's lock guards these three
        self._joined_cost = 0.0  # cost of the steps that are left to them
        self._joined_batch_cost = 0.0  # cost of one step of all of them
        self._batch_size = telemetry.batch_size.labels(spec.id)
        self._batch_cost = telemetry.batch_cost.labels(spec.id)

    async def stream(self, request: Request, *, steps: int, step_cost: float = 1.0) -> AsyncGenerator[Event, None]:
        """Run a request in the batch of the next engine with room; yield its events, of which the last is the result.

        A caller that stops reading leaves the batch before its next step. Steps do not wait for a slow reader, whose
        events are kept: there are as many as the request has steps.

        Args:
            request: What `begin` takes.
            steps: How many steps it will take; an estimate where the model decides.
            step_cost: Its part of the cost of one step, in the unit of `max_batch_cost`.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: The model failed.
        """
        cost = steps * step_cost
        self._admit(cost, steps * self._service_time.seconds_per_run)
        call = _Call(self._loop, request)
        item = self._enqueue(call, cost, batch_cost=step_cost)
        try:
            await item.future
            async for event in call:
                yield event
        finally:
            item.cancellation.cancel()  # a caller that stopped reading no longer waits

    def snapshot(self) -> Snapshot:
        """The scheduler's state at this moment; running items are those in a batch, with the cost that is left."""
        with self._lock:
            items, cost = self._joined_items, self._joined_cost
        return replace(super().snapshot(), prepared_cost=0.0, running_items=items, running_cost=cost)

    def _backlog(self) -> Backlog:
        engines = self._engines.alive
        with self._lock:
            full = self._joined_batch_cost >= self._max_batch_cost * engines
            # A batch with room takes in what arrives, which then does not wait for it.
            items, cost = (self._joined_items, self._joined_cost) if full or self._queue else (0, 0.0)
        return Backlog(len(self._queue), self._queue.cost, items, cost, engines)

    def _load(self, run: Run) -> float:
        return 1 / run.cost

    def _work(self, model: Any) -> None:
        batch = ContinuousBatch(self._max_batch_cost)
        name = self.spec.id
        with ThreadPoolExecutor(1, f"{name}-begin") as begins, ThreadPoolExecutor(1, f"{name}-finish") as finishes:
            try:
                while self._join(model, batch, begins):
                    self._step(model, batch, finishes)
            except EngineCrashed as error:
                self._mark_unhealthy(error)
                for helper in (begins, finishes):
                    helper.shutdown(cancel_futures=True)
                for member in (*batch.beginning.values(), *batch.members):
                    self._leave(member, error)
                for member in batch.finishing.values():
                    member.item.request.finish(error)
                raise

    def _join(self, model: Any, batch: ContinuousBatch, begins: ThreadPoolExecutor) -> bool:
        """Let requests join until there is one to step; whether there is, or the scheduler is closed."""
        while True:
            if batch.empty and not batch.finishing:
                if not (items := self._queue.take(batch.room)):
                    return False
            else:
                items = self._queue.take_fitting(batch.room, at_least=int(batch.empty))
            for item in items:
                member = self._enter(item)
                batch.begin(member, begins.submit(self._begin, model, member))
            for done in [future for future in batch.finishing if future.done()]:
                done.result()  # raises EngineCrashed
                del batch.finishing[done]
            for done in [future for future in batch.beginning if future.done()]:
                done.result()
                member = batch.beginning.pop(done)
                if member.state is None:
                    self._leave(member)
                else:
                    batch.members.append(member)
            if batch.members:
                return True
            wait((*batch.beginning, *batch.finishing), POLL_SECONDS, FIRST_COMPLETED)

    def _step(self, model: Any, batch: ContinuousBatch, finishes: ThreadPoolExecutor) -> None:
        """Take out who has left or is late, and run one step of the others that share a key."""
        for member in batch.members[:]:
            if member.item.cancellation.cancelled:
                batch.members.remove(member)
                self._leave(member, cancellation_error(member.item))
        if not (members := batch.next()):
            return
        outputs = self._outputs(model, batch, members)
        for member, output in zip(members, outputs, strict=False):
            self._count_step(member)
            if isinstance(output, ServeError):
                batch.members.remove(member)
                self._leave(member, output)
                continue
            member.item.request.put(*output.events)
            if output.finished:
                batch.members.remove(member)
                self._leave(member)
                batch.finishing[finishes.submit(self._finish, model, member)] = member

    def _outputs(
        self, model: Any, batch: ContinuousBatch, members: Sequence[BatchMember]
    ) -> Sequence[StepOutput[Event] | ServeError]:
        """Run one step of these members; without enough memory return nothing, and halve the next step."""
        items = [member.item for member in members]
        run = Run(items, sum(item.batch_cost for item in items), self._clock())
        with self._measured(run):
            try:
                outputs: Sequence[StepOutput[Event] | ServeError] = model.step(
                    [member.state for member in members], BatchCancellation(items)
                )
                if len(outputs) != len(members):
                    raise RuntimeError(f"the model returned {len(outputs)} outputs for {len(members)} states")
            except EngineCrashed:
                raise
            except (OutOfMemory, MemoryError):
                run.failed = True
                if len(members) > 1:
                    batch.halve(members)
                    return []
                return [OutOfMemory(f"{self.spec.id} has no memory for this item")]
            except BaseException as error:  # an engine's error, or a panic, fails this step's requests and no others
                run.failed = True
                return [self._outcome(error)] * len(members)
            return outputs

    def _begin(self, model: Any, member: BatchMember) -> None:
        """Make a member's state, or answer its error and leave it without a state."""
        item = member.item
        try:
            item.cancellation.raise_if_cancelled()
            state = model.begin(item.request.request)
            member.key = model.batch_key(state)
            member.state = state
        except EngineCrashed:
            raise
        except BaseException as error:  # a panic of a Rust extension is no Exception
            item.request.finish(self._outcome(error))

    def _finish(self, model: Any, member: BatchMember) -> None:
        """Make a member's result, and answer it or its error."""
        item = member.item
        try:
            item.cancellation.raise_if_cancelled()
            item.request.put(model.finish(member.state))
        except EngineCrashed:
            raise
        except BaseException as error:
            item.request.finish(self._outcome(error))
        else:
            item.request.finish()

    def _enter(self, item: WorkItem) -> BatchMember:
        """Count a request that joins a batch, and tell its caller."""
        member = BatchMember(item, self._clock(), item.cost)
        with self._lock:
            self._joined_items += 1
            self._joined_cost += item.cost
            self._joined_batch_cost += item.batch_cost
        self._loop.call_soon_threadsafe(self._metrics.report_wait, [item], member.joined_at)
        self._answer([(item, None)])
        return member

    def _count_step(self, member: BatchMember) -> None:
        """Count a step off the cost that a member has left."""
        cost = min(member.item.batch_cost, member.cost_left)
        member.steps += 1
        member.cost_left -= cost
        with self._lock:
            self._joined_cost -= cost

    def _leave(self, member: BatchMember, error: ServeError | None = None) -> None:
        """Count a member that leaves its batch; answer its error, if there is one."""
        with self._lock:
            self._joined_items -= 1
            self._joined_cost -= member.cost_left
            self._joined_batch_cost -= member.item.batch_cost
            if not self._joined_items:
                self._joined_cost = self._joined_batch_cost = 0.0  # no rounding error outlives the batches
        if error is not None:
            member.item.request.finish(error)
        self._loop.call_soon_threadsafe(self._report_steps, member, self._clock())

    def _report(self, run: Run) -> None:
        """Report one step; the spans of its requests are reported when they leave."""
        self._batch_size.observe(len(run.items))
        self._batch_cost.observe(run.cost)
        self._metrics.report_step(run)

    def _report_steps(self, member: BatchMember, left_at: float) -> None:
        """Report the time of a request in the batch."""
        self._metrics.report_engine(member.item, member.joined_at, left_at, steps=member.steps)
