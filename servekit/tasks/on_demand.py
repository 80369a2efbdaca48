"""Models that are loaded at first use, and unloaded where another needs their memory."""

import asyncio
import gc
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic

from servekit.context import current
from servekit.errors import Internal, ServeError, Unavailable
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.tasks.loaded import AnyServable, LoadedModel

log = logging.getLogger(__name__)

WAIT_SHARE = 0.8  # of the time left until a deadline: the answer itself takes time, too
RETRY_SECONDS = 1.0  # the least `retry_after` of a refusal


class MemoryBudget:
    """The memory that first-use models share; the least recently used ones are unloaded where another needs theirs.

    Args:
        mebibytes: The size of the budget; infinite for no bound.
    """

    def __init__(self, mebibytes: float = math.inf) -> None:
        self._free = mebibytes
        self._loaded: dict[str, OnDemandModel[Any]] = {}  # by id, the least recently used first
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()  # reservations are made one after another, in the order of the first requests

    async def reserve(self, model: "OnDemandModel[Any]") -> None:
        """Take a model's memory from the budget, once other models that are idle have been unloaded for it.

        Raises:
            Unavailable: No request waits for the model any more.
        """
        async with self._lock:
            while model.users and self._free < model.spec.memory_mb:
                self._changed.clear()
                idle = next((other for other in self._loaded.values() if other.idle), None)
                if idle is None:
                    await self._changed.wait()
                    continue
                log.info("unloading %s: %s needs its memory", idle.spec.id, model.spec.id)
                try:
                    await idle.unload()
                except Exception:
                    log.exception("unloading %s failed", idle.spec.id)
                finally:  # nothing holds it any more, even if it did not close properly
                    self.release(idle)
            if not model.users:
                raise Unavailable(f"no request waits for {model.spec.id} any more", retry_after=RETRY_SECONDS)
            self._free -= model.spec.memory_mb
            self._loaded[model.spec.id] = model

    def release(self, model: "OnDemandModel[Any]") -> None:
        """Give the memory of a model back to the budget."""
        del self._loaded[model.spec.id]
        self._free += model.spec.memory_mb

    def mark_used(self, model: "OnDemandModel[Any]") -> None:
        """Note that a request has just ended: its model is the most recently used one, and may be idle now."""
        if model.spec.id in self._loaded:
            self._loaded[model.spec.id] = self._loaded.pop(model.spec.id)
        self._changed.set()


class OnDemandModel(Generic[AnyServable]):
    """A model that is loaded at the first request that needs it.

    Args:
        spec: The model's spec.
        load: Loads the model.
        budget: The memory that the model shares with others.
        telemetry: Where its readiness is reported while it is in memory.

    Attributes:
        users: How many requests use the model or wait for it; it is not unloaded while there are any.
        loaded: The model, while it is in memory.
    """

    def __init__(
        self,
        spec: ModelSpec,
        load: Callable[[], Awaitable[LoadedModel[AnyServable]]],
        budget: MemoryBudget,
        telemetry: Telemetry,
    ) -> None:
        self.spec = spec
        self.users = 0
        self._load = load
        self._budget = budget
        self._telemetry = telemetry
        self.loaded: LoadedModel[AnyServable] | None = None
        self._loading: asyncio.Task[LoadedModel[AnyServable]] | None = None
        self._load_seconds = 0.0  # of the last load

    @property
    def idle(self) -> bool:
        """Whether the model is in memory and no request uses it."""
        return self.loaded is not None and not self.users

    @property
    def ready(self) -> bool:
        """Whether the model is in memory and answers requests now."""
        return self.loaded is not None and self.loaded.ready

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[LoadedModel[AnyServable]]:
        """Keep the model in memory, loaded if it was not.

        Raises:
            Unavailable: The model is still not loaded when most of the time until the deadline has passed.
            ServeError: The model cannot be loaded.
        """
        self.users += 1
        try:
            yield self.loaded or await self._wait_until_loaded()
        finally:
            self.users -= 1
            self._budget.mark_used(self)

    async def unload(self) -> None:
        """Let running work end, and free the model's memory. Nothing may use the model."""
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            try:
                await loaded.close()
            finally:
                self._remove_metrics(loaded)
            del loaded
            gc.collect()  # reference cycles would keep the memory until some later collection

    async def close(self) -> None:
        """Unload the model at the end of the process, whether requests wait for it or not."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await self.unload()

    async def _wait_until_loaded(self) -> LoadedModel[AnyServable]:
        cancellation = current().cancellation
        cancellation.raise_if_cancelled()
        if self._loading is None:  # one load for all requests that wait; none of them cancels it
            self._loading = asyncio.create_task(self._load_within_budget())
            self._loading.add_done_callback(lambda task: task.cancelled() or task.exception())  # if none waits any more
        remaining = cancellation.remaining_seconds()
        try:
            async with asyncio.timeout(remaining * WAIT_SHARE if remaining < math.inf else None):
                return await asyncio.shield(self._loading)
        except TimeoutError:
            retry_after = max(RETRY_SECONDS, self._load_seconds)
            raise Unavailable(f"the model {self.spec.id} is still loading", retry_after=retry_after) from None

    async def _load_within_budget(self) -> LoadedModel[AnyServable]:
        try:
            await self._budget.reserve(self)
            try:
                self.loaded = await self._load_and_start()
            except BaseException:
                self._budget.release(self)
                raise
            return self.loaded
        finally:
            self._loading = None
            self._budget.mark_used(self)

    async def _load_and_start(self) -> LoadedModel[AnyServable]:
        began = time.monotonic()
        self._telemetry.model_ready.labels(self.spec.id).set(False)
        loaded = None
        try:
            loaded = await self._load()
            await loaded.start(self._telemetry)
        except Exception as error:
            self._remove_metrics(loaded)
            log.warning("loading %s failed", self.spec.id, exc_info=error)
            raise error if isinstance(error, ServeError) else Internal() from error
        self._load_seconds = time.monotonic() - began
        return loaded

    def _remove_metrics(self, loaded: LoadedModel[AnyServable] | None) -> None:
        for name in [self.spec.id, *(servable.spec.id for servable in loaded or ())]:
            self._telemetry.remove_model(name)
