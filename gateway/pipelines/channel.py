"""Events of a pipeline on their way from the tasks that produce them to the one reader of the answer."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

AnyEvent = TypeVar("AnyEvent")

MAX_PENDING = 64  # events that may wait for a slow reader before `send` waits, too


class EventChannel(Generic[AnyEvent]):
    """A queue of events with many producers, all on one event loop, and one reader."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[AnyEvent | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    def send_nowait(self, event: AnyEvent) -> None:
        """Queue an event however many wait: for the few that must not block their producer."""
        self._events.put_nowait(event)

    async def send(self, event: AnyEvent) -> None:
        """Queue an event; waits while the reader is more than `MAX_PENDING` events behind."""
        await self._room.wait()
        self._events.put_nowait(event)
        if self._events.qsize() >= MAX_PENDING:
            self._room.clear()

    async def run(self, work: Coroutine[Any, Any, None]) -> AsyncGenerator[AnyEvent]:
        """Run `work`, which sends, and yield its events as they come. Closing the generator cancels it.

        Raises:
            Exception: What `work` raised, after the events that it had sent.
        """
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._events.put_nowait(None))
        try:
            while (event := await self._events.get()) is not None:
                if self._events.qsize() < MAX_PENDING:
                    self._room.set()
                yield event
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
