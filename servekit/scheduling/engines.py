"""Engines: the instances of a model, or the slots of one, each with a thread; one that crashes is restarted."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from servekit.errors import EngineCrashed
from servekit.ops.telemetry import Telemetry

log = logging.getLogger(__name__)

RESTART_SECONDS = 2.0  # between two attempts to restart an engine


class Model(Protocol):
    """What a scheduler asks of any model."""

    def warm(self) -> None:
        """Run once on a small input, so that the first caller does not pay for it; restart an engine that crashed.

        Raises:
            EngineCrashed: The engine does not run.
        """

    def close(self) -> None:
        """Release the model's memory."""


class Engines:
    """The threads that take the work of a scheduler.

    Args:
        name: The model's id.
        models: One entry per thread; a model that is listed several times has as many slots.
        telemetry: Reports whether an engine is alive, and how long loading took.
    """

    def __init__(self, name: str, models: Sequence[Model], telemetry: Telemetry) -> None:
        self._name = name
        self._models = models
        self._telemetry = telemetry
        self._ready_gauge = telemetry.model_ready.labels(name)
        self._lock = threading.Lock()  # guards the next
        self._alive = 0
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        return len(self._models)

    @property
    def alive(self) -> int:
        """How many engines are warm and running."""
        return self._alive

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    @property
    def ready(self) -> bool:
        """Whether any engine is warm and running, and none is being stopped."""
        return self._alive > 0 and not self.stopping

    async def start(self, work: Callable[[Any], None]) -> None:
        """Warm every engine, then run `work` on its thread: it returns on stop and raises when its engine crashes.

        Raises:
            ServeError: An engine does not start.
        """
        with self._telemetry.loading(self._name):
            await asyncio.gather(*(asyncio.to_thread(model.warm) for model in dict.fromkeys(self._models)))
        self._count_alive(len(self._models))
        for number, model in enumerate(self._models):
            self.start_thread(f"engine-{number}", self._run, work, model)

    def start_thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        """Start a thread that `join` waits for."""
        thread = threading.Thread(target=target, args=args, name=f"{self._name}-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def mark_unhealthy(self, error: EngineCrashed) -> None:
        """Count an engine as crashed, before its `work` raises."""
        log.error("an engine of %s crashed: %s", self._name, error.message)
        self._count_alive(-1)

    def stop(self) -> None:
        """Begin no further work."""
        self._stopping.set()

    async def join(self) -> None:
        """Wait until all threads have ended."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def close(self) -> None:
        """Release the memory of all models."""
        for model in dict.fromkeys(self._models):
            await asyncio.to_thread(model.close)

    def _run(self, work: Callable[[Any], None], model: Model) -> None:
        """Run `work` until stopped; restart the engine whenever it crashes."""
        while not self.stopping:
            try:
                work(model)
            except EngineCrashed:
                self._restart(model)

    def _restart(self, model: Model) -> None:
        while not self._stopping.wait(RESTART_SECONDS):
            try:
                model.warm()
            except Exception as error:
                log.warning("an engine of %s did not restart: %s", self._name, error)
            else:
                log.info("an engine of %s recovered", self._name)
                self._count_alive(1)
                return

    def _count_alive(self, change: int) -> None:
        with self._lock:
            self._alive += change
        self._ready_gauge.set(self.ready)
