"""What tests of every kind share: a process in this process, over real gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from servekit.client import connect
from servekit.server import Deployment, Server
from servekit.settings import ProcessSettings
from servekit.telemetry import Telemetry

Serve = Callable[[ProcessSettings, Any], Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`server = await serve(settings, build)`: a running server, warm, on a free port; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(settings: ProcessSettings, build: Any) -> Server:
            telemetry = Telemetry(settings)
            deployment: Deployment = await build(settings, telemetry)
            server = Server(settings, telemetry, deployment)
            await server.start()
            stack.push_async_callback(server.stop)
            return server

        yield start


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Any]]:
    """`channel = dial(server, "polyphony.vision.v1.VisionService")`: a channel of our client, closed at the end."""
    async with AsyncExitStack() as stack:

        def open_channel(server: Server, service: str, settings: ProcessSettings | None = None) -> Any:
            channel = connect(f"127.0.0.1:{server.port}", service, settings or ProcessSettings())
            stack.push_async_callback(channel.close)
            return channel

        yield open_channel
