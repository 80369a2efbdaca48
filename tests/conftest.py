"""What tests of every kind share: a process in this process, over real gRPC."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # its threads may kill what a test starts, between fork and exec

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.client import connect
from servekit.rpc.server import Server, ServiceSpec

Serve = Callable[[ProcessSettings, Any], Awaitable[Server]]


@contextmanager
def receiving(receiver: trace_service_pb2_grpc.TraceServiceServicer) -> Iterator[str]:
    """The endpoint of an OTLP receiver, for as long as the context lasts."""
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield endpoint
    server.stop(0).wait()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """`server = await serve(settings, build)`: a running server, warm, on a free port; stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(settings: ProcessSettings, build: Any) -> Server:
            telemetry = Telemetry(settings)
            telemetry.listen()
            service_spec: ServiceSpec = await build(settings, telemetry)
            server = Server(settings, telemetry, service_spec)
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
