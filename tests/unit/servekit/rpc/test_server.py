"""The server: health, ports, connections that age, and the end under load."""

import asyncio
import os
import signal
import socket
import sys
import threading

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from polyphony.speech.v1 import synthesis_pb2, synthesis_pb2_grpc
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc

from servekit.errors import EngineCrashed, FailedPrecondition
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import Server, ServiceSpec
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository
from tests.unit.servekit.conftest import (
    NOT_SERVING,
    READ,
    SERVING,
    SPEAK,
    SYNTHESIS,
    VISION,
    health_of,
    until_health_is,
)

SPEC = ModelSpec(id="m", task="embed", services=("retrieval",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1)


async def test_health_follows_the_models(settings, scripted):
    class Slow:
        def __init__(self):
            self.may_warm = threading.Event()

        def warm(self):
            assert self.may_warm.wait(10)

        def close(self): ...

    def crash(model, cancellation):
        raise EngineCrashed("dead")

    model, telemetry = Slow(), Telemetry(settings)
    scheduler = StreamScheduler(SPEC, [model], telemetry, max_queue_cost=1)
    descriptor = vision_pb2.DESCRIPTOR.services_by_name["VisionService"]
    server = Server(
        settings, telemetry, ServiceSpec(scripted, [descriptor], models=ModelRepository([LoadedModel(scheduler)]))
    )
    starting = asyncio.ensure_future(server.start())
    while not server.port:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await channel.channel_ready()
        for service in ("", VISION):
            assert await health_of(channel, service) == NOT_SERVING
        model.may_warm.set()
        await starting
        await until_health_is(channel, SERVING)
        with pytest.raises(EngineCrashed):
            await anext(scheduler.stream(crash))
        await until_health_is(channel, NOT_SERVING)
        await server.stop()


@pytest.mark.parametrize("field", ["port", "metrics_port", "health_port"])
async def test_a_taken_port_is_named(settings, scripted, field, certificates):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        tls = certificates() if field == "health_port" else {}
        taken_settings = settings.model_copy(update={field: number, **tls})
        telemetry = Telemetry(taken_settings)
        server = Server(taken_settings, telemetry, await scripted.build(settings, telemetry))
        start = asyncio.to_thread(telemetry.listen) if field == "metrics_port" else server.start()
        with pytest.raises(FailedPrecondition, match=str(number)) as caught:
            await start
        assert caught.value.field == field


async def test_connections_that_age_fail_no_call(serve, dial, scripted, settings):
    """Streams outlive their connection's age, and calls move on to the next connection unharmed."""

    async def speak():
        for _ in range(25):
            yield synthesis_pb2.SynthesizeResponse(chunk=b"1")
            await asyncio.sleep(0.1)

    scripted.speak = speak

    aged = settings.model_copy(update={"max_connection_age_seconds": 0.5, "drain_timeout_seconds": 0.2})
    server = await serve(aged, scripted.build)
    stub = vision_pb2_grpc.VisionServiceStub(dial(server, VISION))
    synthesis = synthesis_pb2_grpc.SynthesisServiceStub(dial(server, SYNTHESIS))
    calls = 0
    done = asyncio.Event()

    async def call():
        nonlocal calls
        while not done.is_set():
            await stub.ReadText(READ)
            calls += 1
            await asyncio.sleep(0.002)

    callers = [asyncio.ensure_future(call()) for _ in range(4)]
    chunks = [response.chunk async for response in synthesis.Synthesize(SPEAK)]
    done.set()
    await asyncio.gather(*callers)
    assert len(chunks) == 25
    assert calls > 100


async def test_what_exceeds_the_calls_of_a_connection_waits_in_the_caller(serve, dial, scripted, settings):
    running, most = 0, 0

    async def read():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return vision_pb2.ReadTextResponse(width=1)

    scripted.read = read
    server = await serve(settings.model_copy(update={"max_concurrent_streams": 3}), scripted.build)
    stub = vision_pb2_grpc.VisionServiceStub(dial(server, VISION))
    await stub.ReadText(READ)  # by now the connection's settings have come
    answers = await asyncio.gather(*(stub.ReadText(READ) for _ in range(12)))
    assert [answer.width for answer in answers] == [1] * 12
    assert most == 3


async def test_connections_and_calls_beyond_their_numbers_are_refused(serve, scripted, settings):
    limits = settings.model_copy(update={"max_connections": 2, "max_concurrent_rpcs": 1})
    server = await serve(limits, scripted.build)
    watch = health_pb2.HealthCheckRequest()
    async with asyncio.timeout(20), grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        await anext(aiter(health.Watch(watch)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await health.Check(watch)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        _, second = await asyncio.open_connection("127.0.0.1", server.port)
        reader, third = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        second.close()
        third.close()


@pytest.mark.parametrize(
    "fields",
    [
        "content-type: text/plain",
        "content-type: application/grpc-web+proto",
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA",
        "upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABkAAQAAP__",
    ],
)
async def test_http_1_requests_to_a_grpc_port_reach_no_method(server, fields):
    """A browser sends HTTP/1.1 to a port without TLS; here the body is the preface of an HTTP/2 connection."""
    body = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = f"POST /{VISION}/ReadText HTTP/1.1\r\nhost: localhost\r\n{fields}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    async with asyncio.timeout(20):
        answer = await reader.read()  # until the server closes the connection
    writer.close()
    assert b"HTTP/1.1" not in answer
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
    assert "polyphony_requests_total{" not in metrics


async def test_metrics_are_served(server, vision):
    await vision.ReadText(READ)
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
        open_metrics = await client.get(
            f"http://127.0.0.1:{server.metrics_port}/metrics", headers={"accept": "application/openmetrics-text"}
        )
    assert 'polyphony_requests_total{code="OK",method="VisionService/ReadText"} 1.0' in text
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")


async def until_running(metrics_port, calls):
    line = f'polyphony_requests_in_flight{{method="VisionService/ReadText"}} {calls}.0'
    async with httpx.AsyncClient() as client:
        for _ in range(1000):
            if line in (await client.get(f"http://127.0.0.1:{metrics_port}/metrics")).text:
                return
            await asyncio.sleep(0.01)
    pytest.fail(f"there are never {calls} calls running")


async def test_sigterm_under_load_loses_no_accepted_call(tmp_path):
    """A real process: what it has accepted it answers; what it has not is refused as unavailable.

    Or as cancelled, which our client takes for the same: so gRPC ends what comes in at that moment, before it is seen.
    """
    with socket.socket() as free, socket.socket() as other:
        for each in (free, other):
            each.bind(("127.0.0.1", 0))
        port, metrics_port = (each.getsockname()[1] for each in (free, other))
    environment = {
        **os.environ,
        "POLYPHONY_PROFILE": "fake",
        "POLYPHONY_HOME": str(tmp_path),
        "POLYPHONY_VISION_PORT": str(port),
        "POLYPHONY_VISION_METRICS_PORT": str(metrics_port),
        "POLYPHONY_MODEL_OPTIONS": '{"latency_seconds": 0.05}',
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.vision", env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_retries", 0)]) as channel:
        for _ in range(1000):
            try:
                await until_health_is(channel, SERVING)
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
        stub = vision_pb2_grpc.VisionServiceStub(channel)

        in_flight = set()

        async def call():
            while True:
                answer = stub.ReadText(READ, timeout=10)
                in_flight.add(answer)
                try:
                    await answer
                except grpc.aio.AioRpcError as error:
                    return error.code()
                finally:
                    in_flight.remove(answer)

        callers = [asyncio.ensure_future(call()) for _ in range(16)]
        await asyncio.sleep(0.5)
        accepted = set(in_flight)
        assert len(accepted) == 16
        await until_running(metrics_port, 16)  # so each of them has arrived, or its caller has gone on to the next
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*accepted, return_exceptions=True)
        _, errors = await asyncio.wait_for(process.communicate(), 30)
        refusals = await asyncio.gather(*callers)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert set(refusals) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert process.returncode == 0, errors
    assert b"failed" not in errors


LOADING = """
import asyncio
from servekit.rpc.server import main
from servekit.ops.settings import ProcessSettings

async def build(settings, telemetry):
    print("loading", telemetry.port, flush=True)
    await asyncio.to_thread(__import__("time").sleep, 60)

main(ProcessSettings(), build)
"""


async def test_a_process_that_still_loads_shows_its_metrics_and_ends_at_once(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        LOADING,
        env={**os.environ, "POLYPHONY_HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
    )
    port = int((await process.stdout.readline()).split()[1])
    async with httpx.AsyncClient() as client:
        assert "polyphony_filesystem_size_bytes" in (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 128 + signal.SIGTERM
