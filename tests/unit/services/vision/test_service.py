"""The vision service over real gRPC, on the fake reader; it stands for the chassis of every service."""

import asyncio
import io
import time

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, InvalidArgument, NotFound, TooLarge, Unavailable, UnsupportedMedia
from services.vision.service import build
from services.vision.settings import VisionSettings
from tests.watching import until

NAME = "polyphony.vision.v1.VisionService"


def png(width=64, height=32, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def settings(tmp_path):
    return VisionSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, max_image_pixels=10_000, drain_timeout_seconds=2.0
    )


@pytest.fixture
async def server(serve, settings):
    return await serve(settings, build)


@pytest.fixture
def stub(server, dial):
    return VisionServiceStub(dial(server, NAME))


def request(data, **more):
    return ReadTextRequest(image=Media(inline=data, mime_type="image/png"), **more)


async def test_reads_an_image(stub):
    page = await stub.ReadText(request(png()))
    assert (page.width, page.height, page.model) == (64, 32, "fake-reader")
    assert [line.bounding_box.top for line in page.lines] == [0, 16]
    assert page == await stub.ReadText(request(png()))
    assert page.lines[0].text != (await stub.ReadText(request(png(seed=1)))).lines[0].text


async def test_an_image_without_text_has_no_lines(stub):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(buffer, "PNG")
    assert not (await stub.ReadText(request(buffer.getvalue()))).lines


@pytest.mark.parametrize(
    ("bad", "error", "field"),
    [
        (ReadTextRequest(), InvalidArgument, "image"),
        (ReadTextRequest(image=Media(mime_type="image/png")), InvalidArgument, "image"),
        (request(b""), InvalidArgument, "image"),
        (request(b"not an image"), UnsupportedMedia, "image"),
        (request(png()[:200]), UnsupportedMedia, "image"),
        (request(png(200, 200)), TooLarge, "image"),
        (request(png(), min_confidence=2), InvalidArgument, "min_confidence"),
        (request(png(), min_confidence=float("nan")), InvalidArgument, "min_confidence"),
        (request(png(), model="gpt-9"), NotFound, "model"),
        (ReadTextRequest(image=Media(reference="sha256:" + "0" * 64)), NotFound, "image"),
        (ReadTextRequest(image=Media(reference="../../etc/passwd")), InvalidArgument, "image"),
    ],
)
async def test_bad_input_is_named(stub, bad, error, field):
    with pytest.raises(error) as raised:
        await stub.ReadText(bad)
    assert raised.value.field.startswith(field)


@pytest.mark.serial
async def test_the_deadline_travels_and_stops_the_engine(serve, dial, settings):
    server = await serve(settings.model_copy(update={"model_options": {"latency_seconds": 5.0}}), build)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.2)))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await VisionServiceStub(dial(server, NAME)).ReadText(request(png()))
    assert time.monotonic() - began < 2


async def test_tritonclient_sees_every_model_and_infers_with_the_networks(server):
    async with InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("fake-reader")
        assert (await client.get_server_metadata()).name == "polyphony-vision"
        assert (await client.get_model_metadata("fake-reader")).platform == "fake"
        metadata = await client.get_model_metadata("fake-reader-det")
        assert (metadata.inputs[0].name, list(metadata.inputs[0].shape)) == ("x", [-1, 3, -1, -1])
        image = InferInput("x", [2, 3, 4, 4], "FP32")
        image.set_data_from_numpy(np.zeros((2, 3, 4, 4), np.float32))
        assert (await client.infer("fake-reader-det", [image])).as_numpy("y").shape == (2, 8)
        with pytest.raises(InferenceServerException, match="is not a tensor model"):
            await client.infer("fake-reader", [image])
        with pytest.raises(InferenceServerException, match="no model"):
            await client.get_model_metadata("nothing")
        image = InferInput("x", [2, 3], "FP32")
        image.set_data_from_numpy(np.zeros((2, 3), np.float32))
        with pytest.raises(InferenceServerException, match="must be float32"):
            await client.infer("fake-reader-det", [image])


async def test_health_reflection_and_metrics(server, stub):
    await stub.ReadText(request(png()))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", NAME):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    def reflect():
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    names = await asyncio.to_thread(reflect)
    assert {NAME, "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names
    async with httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
    assert 'polyphony_requests_total{code="OK",method="VisionService/ReadText"} 1.0' in metrics
    assert 'polyphony_model_ready{model="fake-reader"} 1.0' in metrics
    assert 'polyphony_offered_load_engine_seconds_total{model="fake-reader"}' in metrics


async def test_stopping_lets_accepted_calls_end_and_turns_new_ones_away(serve, dial, settings):
    server = await serve(settings.model_copy(update={"model_options": {"latency_seconds": 0.1}, "threads": 2}), build)
    stub = VisionServiceStub(dial(server, NAME))
    await stub.ReadText(request(png()))
    telemetry, method = server._telemetry, "VisionService/ReadText"

    def arrived():
        return (
            telemetry.requests_in_flight.labels(method)._value.get()
            + telemetry.requests.labels(method, "OK")._value.get()
        )

    accepted = [asyncio.ensure_future(stub.ReadText(request(png(seed=n)))) for n in range(8)]
    await until(lambda: arrived() >= 9)
    await server.stop()
    assert [page.model for page in await asyncio.gather(*accepted)] == ["fake-reader"] * 8
    with pytest.raises(Unavailable):
        await stub.ReadText(request(png()))
