"""Batching: models that answer at once, many callers to one run of the engine.

While a batch runs, the next items are prepared; the moment the engine is free it
takes whatever is prepared, up to a budget of cost. Nothing waits for a batch to fill.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar, cast

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import EngineGone, Internal, OutOfMemory, ServeError
from servekit.lane import Job, Lane, Model
from servekit.telemetry import Telemetry

Request = TypeVar("Request")
Item = TypeVar("Item")
Result = TypeVar("Result")
RequestIn = TypeVar("RequestIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class BatchModel(Model, Protocol[RequestIn, Item, ResultOut]):
    """A model that takes several items in one run."""

    def prepare(self, request: RequestIn) -> Item:
        """Decode or tokenise one request, on the lane's preparing thread.

        Raises:
            ServeError: The request is bad; its neighbours are not affected.
        """

    def run(self, items: Sequence[Item], flag: Flag) -> Sequence[ResultOut | ServeError]:
        """Run the items, on this engine's thread; one result or error an item, in their order.

        The flag is set when nobody waits for any of them.

        Raises:
            OutOfMemory: There was no memory for so many; the lane halves them and tries again.
            EngineGone: The engine has died.
        """


class _BatchFlag(Flag):
    """Set when nobody waits for any item of a batch."""

    __slots__ = ("_jobs",)

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(max(job.flag.deadline for job in jobs))
        self._jobs = jobs

    def abandoned(self) -> bool:
        return all(job.flag.is_set() for job in self._jobs)


class BatchLane(Lane, Generic[Request, Result]):
    """The queue of a batch model.

    Args:
        card: The model.
        models: One or more instances of it; each has a thread of its own.
        telemetry: Where the lane's metrics go.
        max_batch_cost: What one run may cost; a dearer item runs alone.
        max_queue_cost: What may wait.
    """

    def __init__(
        self,
        card: ModelCard,
        models: Sequence[BatchModel[Request, Any, Result]],
        telemetry: Telemetry,
        *,
        max_batch_cost: float,
        max_queue_cost: float,
    ) -> None:
        super().__init__(card, models, telemetry, max_queue_cost=max_queue_cost)
        self._max_batch_cost = max_batch_cost
        self._prepared: deque[tuple[Job, Any]] = deque()
        self._prepared_cost = 0.0
        self._batch_size = telemetry.batch_size.labels(card.id)
        self._batch_cost = telemetry.batch_cost.labels(card.id)

    async def submit(self, request: Request, cost: float = 1.0) -> Result:
        """Run one item with whatever runs beside it.

        Raises:
            Overloaded: The queue is full; nothing was queued.
            ServeError: What the model said of this item.
        """
        job = self._admit(request, cost)
        try:
            return cast("Result", await job.future)
        finally:
            job.flag.set()  # whoever was cancelled here no longer waits

    async def start(self) -> None:
        await super().start()
        self._start_thread("prepare", self._prepare_forever, self._models[0])

    def _prepare_forever(self, model: BatchModel[Request, Any, Result]) -> None:
        """The preparing thread's life: stay one batch ahead of every engine."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or (self._queue and self._behind()))
                if self._closed:
                    return
                job = self._next()
                if job is None:
                    continue
                self._prepared_cost += job.cost
            try:
                item = model.prepare(job.request)
            except Exception as error:  # one bad item never fails its neighbours
                self._answer([(job, self._outcome(error))])
                item = None
            with self._changed:
                if item is None:
                    self._prepared_cost -= job.cost
                else:
                    self._prepared.append((job, item))
                self._changed.notify_all()

    def _behind(self) -> bool:
        """Whether less than one item and one batch an engine is prepared."""
        engines = len(self._models)
        return len(self._prepared) < engines or self._prepared_cost < self._max_batch_cost * engines

    def _work(self, model: BatchModel[Request, Any, Result]) -> None:
        while batch := self._take():
            jobs = [job for job, _ in batch]
            began = self._began(jobs)
            try:
                outcomes = self._run(model, batch)
            except EngineGone as error:
                self._gone(error)
                self._answer([(job, error) for job in jobs])
                raise
            finally:
                self._ended(jobs, began)
            self._answer(outcomes)

    def _take(self) -> list[tuple[Job, Any]]:
        """Whatever is prepared, up to one batch; waits for the first item; empty when the lane is closed."""
        batch: list[tuple[Job, Any]] = []
        cost = 0.0
        with self._changed:
            while not batch:
                self._changed.wait_for(lambda: self._closed or self._prepared)
                if not self._prepared:
                    return []
                while self._prepared and (not batch or cost + self._prepared[0][0].cost <= self._max_batch_cost):
                    job, item = self._prepared.popleft()
                    self._prepared_cost -= job.cost
                    if job.flag.is_set():
                        self._drop(job)
                    else:
                        batch.append((job, item))
                        cost += job.cost
            self._changed.notify_all()
        self._batch_size.observe(len(batch))
        self._batch_cost.observe(cost)
        return batch

    def _fail_queue(self, error: ServeError) -> None:
        with self._changed:
            jobs = [job for job, _ in self._prepared]
            self._prepared.clear()
            self._prepared_cost = 0.0
        self._answer([(job, error) for job in jobs])
        super()._fail_queue(error)

    def _run(
        self, model: BatchModel[Request, Any, Result], batch: Sequence[tuple[Job, Any]]
    ) -> list[tuple[Job, object]]:
        jobs = [job for job, _ in batch]
        try:
            results: Sequence[object] = model.run([item for _, item in batch], _BatchFlag(jobs))
            if len(results) != len(batch):
                raise Internal(f"{self.card.id} gave {len(results)} results for {len(batch)} items")
        except EngineGone:
            raise
        except (OutOfMemory, MemoryError) as error:
            if len(batch) == 1:
                return [(jobs[0], OutOfMemory(f"{self.card.id} has no memory for this item: {error}"))]
            middle = len(batch) // 2
            return self._run(model, batch[:middle]) + self._run(model, batch[middle:])
        except Exception as error:  # an engine's error fails its batch, and nothing else
            return [(job, self._outcome(error)) for job in jobs]
        return list(zip(jobs, results, strict=True))
