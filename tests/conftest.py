"""Fixtures of all tests: a service in the process of the test, over real gRPC."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # its threads may kill what a test starts, between fork and exec

import fcntl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.client import connect
from servekit.rpc.server import Server, ServiceSpec

HERE = Path(__file__).parent
FLEETS = ("e2e", "operations", "integration", "browser")
"""The folders whose tests share one running fleet, the slowest first."""

Serve = Callable[[ProcessSettings, Any], Awaitable[Server]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group tests for `pytest -n`: a fleet's folder stays on one worker, and so does any other file.

    Fleets come first, so that no worker is left with a slow one at the end.
    """

    def group(item: pytest.Item) -> str:
        file = item.path.relative_to(HERE)
        return file.parts[0] if file.parts[0] in FLEETS else str(file)

    for item in items:
        item.add_marker(pytest.mark.xdist_group(group(item)))
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: FLEETS.index(group(item)) if group(item) in FLEETS else len(FLEETS))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test marked `serial` while no other worker runs one: it measures time and needs the cores for itself."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    with open(__file__) as cores:
        fcntl.flock(cores, fcntl.LOCK_EX if item.get_closest_marker("serial") else fcntl.LOCK_SH)
        return (yield)


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
            channel = connect(f"127.0.0.1:{server.port}", service.rpartition(".")[0], settings or ProcessSettings())
            stack.push_async_callback(channel.close)
            return channel

        yield open_channel
