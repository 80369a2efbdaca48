"""Engines: the instances of a model, or the slots of one, a thread each; one that dies is brought back."""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import EngineCrashed

log = logging.getLogger(__name__)

REVIVAL_SECONDS = 2.0  # between two attempts to bring an engine back


class Model(Protocol):
    """What a scheduler asks of any model."""

    def warm(self) -> None:
        """Run once on something small, so that the first caller does not pay for it.

        Raises:
            EngineCrashed: The engine does not run.
        """

    def close(self) -> None:
        """Give its memory back."""


class Engines:
    """What takes the jobs of a scheduler.

    Args:
        name: The model's id.
        models: One entry a thread; the same one several times has as many slots.
        telemetry: Where it is told whether any is alive, and how long they took to load.
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
        """How many are warm and running."""
        return self._alive

    @property
    def stopping(self) -> bool:
        """Whether they have been told to stop."""
        return self._stopping.is_set()

    @property
    def ready(self) -> bool:
        """Whether any is warm and running, and goes on."""
        return self._alive > 0 and not self.stopping

    async def start(self, work: Callable[[Any], None]) -> None:
        """Warm every engine, then let it `work`, which returns when the engines stop and raises when its own dies.

        Raises:
            ServeError: An engine does not come up.
        """
        with self._telemetry.loading(self._name):
            await asyncio.gather(*(asyncio.to_thread(model.warm) for model in dict.fromkeys(self._models)))
        self._count_alive(len(self._models))
        for number, model in enumerate(self._models):
            self.start_thread(f"engine-{number}", self._keep_working, work, model)

    def start_thread(self, name: str, target: Callable[..., None], *args: Any) -> None:
        """A thread that ends with those of the engines."""
        thread = threading.Thread(target=target, args=args, name=f"{self._name}-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def lose(self, error: EngineCrashed) -> None:
        """An engine has died; it is said before the engine's `work` raises."""
        log.error("an engine of %s is gone: %s", self._name, error.message)
        self._count_alive(-1)

    def stop(self) -> None:
        """No work is begun any more."""
        self._stopping.set()

    async def join(self) -> None:
        """Wait until they have stopped."""
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    async def close(self) -> None:
        """Give their memory back."""
        for model in dict.fromkeys(self._models):
            await asyncio.to_thread(model.close)

    def _keep_working(self, work: Callable[[Any], None], model: Model) -> None:
        """A thread's life: work; when the engine dies, bring it back and go on."""
        while not self.stopping:
            try:
                work(model)
            except EngineCrashed:
                self._revive(model)

    def _revive(self, model: Model) -> None:
        while not self._stopping.wait(REVIVAL_SECONDS):
            try:
                model.warm()
            except Exception as error:
                log.warning("an engine of %s is still gone: %s", self._name, error)
            else:
                log.info("an engine of %s is back", self._name)
                self._count_alive(1)
                return

    def _count_alive(self, change: int) -> None:
        with self._lock:
            self._alive += change
        self._ready_gauge.set(self.ready)
