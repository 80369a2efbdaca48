"""The open HTTP connections of the process, and which of them to close."""

import asyncio
import resource
from collections.abc import Collection
from typing import Protocol

from servekit.ops.telemetry import Telemetry

DESCRIPTORS_PER_CONNECTION = 3  # its socket, the file of a large body, and those that are about to be closed
MAX_READING_AHEAD = 32
REASONS = ("refused", "idle", "unread")  # each counts from 0 on, so that its rate is known before the first


class ClientConnection(Protocol):
    """An HTTP connection or a WebSocket.

    Attributes:
        transport: Its transport.
        unread: The bytes that its client had not read at the last check; 0 where it was not behind.
    """

    transport: asyncio.Transport
    unread: int

    @property
    def write_paused(self) -> bool:
        """Whether more is to be sent once the client has read what was sent."""
        ...


class Connections:
    """Keeps the connections within a limit, and closes those whose clients do not read.

    At the limit a new connection replaces the one that has waited longest for its client: for a request, for the
    rest of one, or to read an answer. Slow clients lose their connections, and never clients that wait for an answer.

    Args:
        limit: The maximum number of connections; fewer where the process may not open as many descriptors.
        pace: The minimum at which a client must read an answer, in bytes per second.
        interval: The seconds between two checks of the pace.
        telemetry: Receives the numbers of open and of closed connections.

    Attributes:
        limit: The maximum number of connections.
    """

    def __init__(self, limit: int, pace: int, interval: float, telemetry: Telemetry) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.limit = min(limit, descriptors // DESCRIPTORS_PER_CONNECTION)
        self._interval = interval
        self._min_read_bytes = pace * interval
        self._open: Collection[ClientConnection] = ()
        self._reading_ahead: set[ClientConnection] = set()
        self._waiting: dict[ClientConnection, None] = {}  # those that wait for their clients, the longest first
        self._closed = {reason: telemetry.closed_connections.labels(reason) for reason in REASONS}
        telemetry.connections.set_function(lambda: len(self._open))

    def add(self, connection: ClientConnection, connections: Collection[ClientConnection]) -> bool:
        """Whether a new connection, one of all `connections`, may stay; another one is closed for it."""
        self._open = connections
        if len(connections) > self.limit:
            longest = next(iter(self._waiting), None)
            if longest is None:
                self._closed["refused"].inc()
                return False
            self.mark_busy(longest)
            self._closed["idle"].inc()
            if longest.write_paused:
                longest.transport.abort()  # closing would wait for the client to read
            else:
                longest.transport.close()
        self._waiting[connection] = None
        return True

    def mark_waiting(self, connection: ClientConnection) -> None:
        """Note that the connection waits for its client: for the next request, or to read what was sent."""
        self._waiting[connection] = None

    def mark_busy(self, connection: ClientConnection) -> None:
        """Note that the connection does not wait for its client, which has sent a request or read, or is gone."""
        self._waiting.pop(connection, None)
        self._reading_ahead.discard(connection)

    def may_read_ahead(self, connection: ClientConnection) -> bool:
        """Whether the connection may buffer a whole body until `mark_busy`; `MAX_READING_AHEAD` may at a time."""
        if len(self._reading_ahead) < MAX_READING_AHEAD:
            self._reading_ahead.add(connection)
        return connection in self._reading_ahead

    async def watch(self) -> None:
        """Check the connections until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            self.check()

    def check(self) -> None:
        """Close each connection whose client has read too little since the last check of what it is sent."""
        for connection in tuple(self._open):
            transport, unread = connection.transport, 0
            if connection.write_paused or transport.is_closing():
                unread = transport.get_write_buffer_size()
            if unread and connection.unread and connection.unread - unread < self._min_read_bytes:
                self._closed["unread"].inc()
                transport.abort()
            connection.unread = unread
