"""The HTTP server, in the same process and loop as the gRPC server."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from gateway.http.connections import Connections
from gateway.http.http_protocol import HttpProtocol
from gateway.http.websocket import WebSocketProtocol
from gateway.settings import GatewaySettings
from servekit.errors import FailedPrecondition
from servekit.ops.telemetry import Telemetry

PONG_SECONDS = 60.0  # a session that is sent audio faster than it can be transcribed is read slowly, and pongs late


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

    def __init__(self, app: ASGIApp, settings: GatewaySettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._connections = Connections(
            settings.max_http_connections,
            settings.min_transfer_bytes_per_second,
            settings.transfer_grace_seconds,
            telemetry,
        )
        self.port = settings.http_port
        self._server = _Embedded(
            uvicorn.Config(
                app,
                http=partial(HttpProtocol, self._connections),  # type: ignore[arg-type]
                backlog=self._connections.limit,  # what one turn of the event loop may accept at most
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
        self._watching: asyncio.Task[None] | None = None

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
        self._watching = asyncio.create_task(self._connections.watch())
        await self._server.listening.wait()

    async def stop(self) -> None:
        """Refuse new connections, and let the running requests end within `drain_timeout_seconds`."""
        self._server.should_exit = True
        if self._running is not None:
            await self._running
        if self._watching is not None:
            self._watching.cancel()
