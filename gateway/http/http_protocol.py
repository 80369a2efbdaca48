"""One HTTP connection, with limits that uvicorn does not have."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.connections import ClientConnection, Connections
from gateway.http.errors import error_response
from servekit.errors import Unavailable

READ_AHEAD_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
REST_SECONDS = 10.0  # for the rest of a body after its answer
MAX_HEADERS = 256
MAX_PIPELINED = 16
CHUNKS_AT_ONCE = 1024  # of a body, before the event loop does other work


class HttpProtocol(HttpToolsProtocol):
    """One connection, with limits on the bytes, seconds and headers of a request's head, and on pipelined requests.

    It buffers more of a body up to `READ_AHEAD_BYTES` than uvicorn's 64 KiB before it waits for the handler: half a
    megabyte arrives in 0.8 ms instead of 1.3. A larger body goes to disk at the disk's pace. The chunks of a body that
    one read brings, up to 40,000, are passed on as one.

    Args:
        limits: All connections of the server.
        arguments: The arguments of uvicorn's protocol.
        options: Its keyword arguments.

    Attributes:
        unread: See `ClientConnection`.
    """

    _unparsed = 0  # bytes since the parser's last event
    _reads_ahead = False
    _head_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None
    unread = 0

    def __init__(self, limits: Connections, *arguments: Any, **options: Any) -> None:
        self._limits = limits
        self._body: list[bytes] = []  # what the parser has found and the handler has not been passed
        super().__init__(*arguments, **options)

    @property
    def write_paused(self) -> bool:
        """Whether more is to be sent once the client has read what was sent."""
        return self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()
        if not self._limits.add(self, cast("set[ClientConnection]", self.connections)):
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._stop_rest_timer()
        self._limits.mark_busy(self)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        self._limits.mark_busy(self)
        self._unset_keepalive_if_required()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limits.mark_waiting(self)  # for its client to read

    def resume_writing(self) -> None:
        self.unread = 0
        super().resume_writing()
        if not self.cycle.response_complete:
            self._limits.mark_busy(self)

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), HEAD_BYTES):
            piece = data[start : start + HEAD_BYTES]
            self._unparsed += len(piece)
            super().data_received(piece)
            if self._unparsed > HEAD_BYTES:
                self.transport.close()
            if self.transport.is_closing() or self.transport.get_protocol() is not self:  # closed, or a WebSocket now
                break
        self._pass_body()

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            raise ConnectionAbortedError  # ends the parser, which closes the connection
        super().on_message_begin()
        self._reads_ahead = False
        self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            raise ConnectionAbortedError
        super().on_header(name, value)
        if name.lower() == b"content-length":
            self._reads_ahead = (
                len(value) < 8
                and HIGH_WATER_LIMIT < int(value) <= READ_AHEAD_BYTES
                and self._limits.may_read_ahead(self)
            )

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._pass_body()
        self._stop_rest_timer()
        if self.cycle is not None and self.cycle.response_complete:  # the rest of a body, after its answer
            self._wait_for_next_request()
        else:
            self._limits.mark_busy(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.cycle.response_complete:
            return  # this was the answer to an earlier one of pipelined requests
        if self.cycle.more_body:  # it is dropped, so that the client comes to read the answer
            self._rest_timer = self.loop.call_later(REST_SECONDS, self.transport.close)
        else:
            self._limits.mark_waiting(self)

    def _wait_for_next_request(self) -> None:
        self._limits.mark_waiting(self)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _pass_body(self) -> None:
        if self._body:
            super().on_body(b"".join(self._body))
            many = len(self._body) > CHUNKS_AT_ONCE
            self._body.clear()
            if many:  # libuv reads up to 32 times before it does other work
                self.flow.pause_reading()
                self.loop.call_soon(self._resume_reading)
            else:
                self._resume_reading()

    def _resume_reading(self) -> None:
        most = READ_AHEAD_BYTES if self._reads_ahead else HIGH_WATER_LIMIT
        if len(self.cycle.body) < most and not self.pipeline:
            self.flow.resume_reading()

    def _refuse(self) -> None:
        """Close the connection with an error: all others are waited for."""
        error = error_response(Unavailable("the gateway has too many open connections", retry_after=1.0))
        headers = [*error.raw_headers, (b"connection", b"close")]
        lines = [b"HTTP/1.1 503 Service Unavailable", *(name + b": " + value for name, value in headers), b""]
        self.transport.write(b"\r\n".join([*lines, bytes(error.body)]))
        self.transport.close()

    def _stop_rest_timer(self) -> None:
        if self._rest_timer is not None:
            self._rest_timer.cancel()
            self._rest_timer = None

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        self._unparsed = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
