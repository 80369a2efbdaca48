"""The events of one call on their way from an engine's thread to the caller on the event loop."""

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from servekit.errors import ServeError

Event = TypeVar("Event")


class EventQueue(Generic[Event]):
    """A queue that any thread may write to and one task reads from, until `finish`.

    Args:
        loop: The event loop of the reader.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: asyncio.Queue[Event | _End] = asyncio.Queue()

    def put(self, *events: Event) -> None:
        """Add events."""
        self._loop.call_soon_threadsafe(self._put, *events)

    def finish(self, error: ServeError | None = None) -> None:
        """End the events; with an error, the reader gets it after the events."""
        self._loop.call_soon_threadsafe(self._put, _End(error))

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not isinstance(entry := await self._entries.get(), _End):
            yield entry
        if entry.error is not None:
            raise entry.error

    def _put(self, *entries: "Event | _End") -> None:
        for entry in entries:
            self._entries.put_nowait(entry)


class _End:
    """The last entry of a queue."""

    def __init__(self, error: ServeError | None) -> None:
        self.error = error
