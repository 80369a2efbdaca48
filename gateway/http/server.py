"""The HTTP server, in the same process and loop as the gRPC server."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.websocket import WebSocketProtocol
from gateway.settings import GatewaySettings
from servekit.errors import FailedPrecondition

READ_AHEAD_BYTES = 1 << 20
HEAD_BYTES = 64 << 10
HEAD_SECONDS = 10.0
MAX_PIPELINED = 16
CHUNKS_AT_ONCE = 1024  # of a body, before the event loop does other work
PONG_SECONDS = 60.0  # a session that is sent audio faster than it can be transcribed is read slowly, and pongs late


class _Protocol(HttpToolsProtocol):
    """One connection, with limits that uvicorn does not have: on the bytes and seconds of a request's head, and on
    the number of pipelined requests.

    It buffers more of a body up to `READ_AHEAD_BYTES` than uvicorn's 64 KiB before it waits for the handler: half a
    megabyte arrives in 0.8 ms instead of 1.3. A larger body goes to disk at the disk's pace. The chunks of a body that
    one read brings, up to 40,000, are passed on as one.
    """

    _unparsed = 0  # bytes since the parser's last event
    _reads_ahead = False
    _head_timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._body: list[bytes] = []  # what the parser has found and the handler has not been passed
        super().__init__(*arguments, **options)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

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
        super().on_header(name, value)
        if name.lower() == b"content-length":
            self._reads_ahead = len(value) < 8 and int(value) <= READ_AHEAD_BYTES

    def on_headers_complete(self) -> None:
        self._stop_head_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        self._pass_body()
        super().on_message_complete()

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

    def _start_head_timer(self) -> None:
        self._stop_head_timer()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        self._unparsed = 0
        if self._head_timer is not None:
            self._head_timer.cancel()


class _Embedded(uvicorn.Server):
    """Uvicorn without its signal handlers, with an event for when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class WebServer:
    """Uvicorn within a process that handles the signals itself.

    Attributes:
        port: The port that it listens on.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._settings = settings
        self.port = settings.http_port
        self._server = _Embedded(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws=WebSocketProtocol,
                ws_max_size=settings.max_realtime_message_bytes,
                ws_ping_timeout=PONG_SECONDS,
                ws_per_message_deflate=False,  # a small message could become a large one
                loop="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=int(settings.drain_timeout_seconds),
            )
        )
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            FailedPrecondition: The process cannot listen on the address.
        """
        host, port = self._settings.http_host, self._settings.http_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            listener.close()
            raise FailedPrecondition(
                f"cannot listen on {host}:{port}: the address is in use", field="http_port"
            ) from error
        self.port = listener.getsockname()[1]
        self._running = asyncio.create_task(self._server.serve([listener]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Refuse new connections, and let the running requests end within `drain_timeout_seconds`."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running
