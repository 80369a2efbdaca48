"""The server: health, TLS, ports, connections that age, and the end under load."""

import asyncio
import os
import signal
import socket
import sys
import threading

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from polyphony.speech.v1 import speech_pb2, speech_pb2_grpc
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc
from pydantic import ValidationError

from servekit.catalogue import ModelCard
from servekit.client import connect
from servekit.errors import FailedPrecondition, Unavailable
from servekit.server import Deployment, Server
from servekit.settings import ProcessSettings
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry

from .conftest import READ, SPEAK, VISION

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
CARD = ModelCard(id="m", task="embed", service="retrieval", loader="t", title="t", licence="CC0-1.0", memory_mb=1)


async def health_of(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def until_health_is(channel, status):
    for _ in range(400):
        if await health_of(channel) == status:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"health is never {status}")


async def test_health_follows_the_models(settings, scripted):
    class Slow:
        def __init__(self):
            self.may_warm = threading.Event()

        def warm(self):
            assert self.may_warm.wait(10)

        def close(self): ...

    model, telemetry = Slow(), Telemetry(settings)
    lane = StreamLane(CARD, [model], telemetry, max_queue_cost=1)
    descriptor = vision_pb2.DESCRIPTOR.services_by_name["VisionService"]
    add = vision_pb2_grpc.add_VisionServiceServicer_to_server
    server = Server(settings, telemetry, Deployment(add, scripted, descriptor, lanes=[lane]))
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
        lane._count_alive(-1)  # as when its engine dies
        await until_health_is(channel, NOT_SERVING)
        await server.stop()


@pytest.mark.parametrize("field", ["port", "metrics_port", "health_port"])
async def test_a_taken_port_is_named(settings, scripted, field, authority):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        tls = authority if field == "health_port" else {}
        taken_settings = settings.model_copy(update={field: number, **tls})
        telemetry = Telemetry(taken_settings)
        server = Server(taken_settings, telemetry, await scripted.build(settings, telemetry))
        start = asyncio.to_thread(telemetry.listen) if field == "metrics_port" else server.start()
        with pytest.raises(FailedPrecondition, match=str(number)) as caught:
            await start
        assert caught.value.field == field


@pytest.fixture
def ca():
    return trustme.CA()


@pytest.fixture
def authority(ca, tmp_path):
    certificate = ca.issue_cert("localhost", "127.0.0.1")
    paths = {"tls_certificate": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
    certificate.private_key_pem.write_to_path(str(paths["tls_key"]))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(paths["tls_certificate"]), append=True)
    return paths


@pytest.fixture
def trusted(ca, tmp_path):
    ca.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    return {"tls_authority": tmp_path / "authority.pem"}


async def read_through(server, settings):
    channel = connect(f"127.0.0.1:{server.port}", VISION, settings)
    try:
        return (await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)).width
    finally:
        await channel.close()


async def test_tls_hides_all_but_health(serve, scripted, settings, authority, trusted):
    server = await serve(settings.model_copy(update=authority), scripted.build)
    assert await read_through(server, settings.model_copy(update=trusted)) == 1
    with pytest.raises(Unavailable):
        await read_through(server, settings)  # plaintext to a TLS port
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
        await until_health_is(channel, SERVING)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_mutual_tls_refuses_whom_the_authority_did_not_sign(serve, scripted, settings, authority, trusted):
    server = await serve(settings.model_copy(update={**authority, **trusted}), scripted.build)
    assert await read_through(server, settings.model_copy(update={**authority, **trusted})) == 1
    with pytest.raises(Unavailable):
        await read_through(server, settings.model_copy(update=trusted))


def test_half_a_tls_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="belong together"):
        ProcessSettings(tls_certificate=tmp_path / "chain.pem")


async def test_connections_that_age_fail_no_call(serve, dial, scripted, settings):
    """Streams outlive their connection's age, and calls move on to the next connection unharmed."""

    async def speak():
        for _ in range(25):
            yield speech_pb2.SynthesizeResponse(chunk=b"1")
            await asyncio.sleep(0.1)

    scripted.speak = speak

    aged = settings.model_copy(update={"max_connection_age_seconds": 0.5, "drain_seconds": 0.2})
    server = await serve(aged, scripted.build)
    stub = vision_pb2_grpc.VisionServiceStub(dial(server, VISION))
    speech = speech_pb2_grpc.SpeechServiceStub(dial(server, "polyphony.speech.v1.SpeechService"))
    calls = 0
    done = asyncio.Event()

    async def call():
        nonlocal calls
        while not done.is_set():
            await stub.ReadText(READ)
            calls += 1
            await asyncio.sleep(0.002)

    callers = [asyncio.ensure_future(call()) for _ in range(4)]
    chunks = [response.chunk async for response in speech.Synthesize(SPEAK)]
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
    server = await serve(settings.model_copy(update={"max_concurrent_calls": 3}), scripted.build)
    stub = vision_pb2_grpc.VisionServiceStub(dial(server, VISION))
    await stub.ReadText(READ)  # by now the connection's settings have come
    answers = await asyncio.gather(*(stub.ReadText(READ) for _ in range(12)))
    assert [answer.width for answer in answers] == [1] * 12
    assert most == 3


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


async def test_sigterm_under_load_loses_no_accepted_call(tmp_path):
    """A real process: what it has accepted it answers; what it has not is refused as unavailable."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "POLYPHONY_PROFILE": "fake",
        "POLYPHONY_HOME": str(tmp_path),
        "POLYPHONY_VISION_PORT": str(port),
        "POLYPHONY_VISION_METRICS_PORT": "0",
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
        process.send_signal(signal.SIGTERM)
        answers = await asyncio.gather(*accepted, return_exceptions=True)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        refusals = await asyncio.gather(*callers)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert set(refusals) == {grpc.StatusCode.UNAVAILABLE}
    assert process.returncode == 0, errors
    assert b"failed" not in errors
