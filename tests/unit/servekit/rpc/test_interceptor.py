"""What every call goes through: identity, deadlines, cancellation, counts."""

import asyncio
import time

import grpc
import pytest
from polyphony.speech.v1 import synthesis_pb2, synthesis_pb2_grpc, transcription_pb2
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc

from servekit.context import CancellationToken, RequestContext, current, enter
from servekit.errors import DeadlineExceeded, InvalidArgument, Unimplemented
from servekit.ops.telemetry import Telemetry
from servekit.rpc.contract import handlers, timeouts
from servekit.rpc.interceptor import CallInterceptor
from tests.unit.servekit.conftest import READ, SPEAK, SYNTHESIS, VISION
from tests.watching import until


@pytest.fixture
async def raw(server):
    """A channel of plain gRPC: no deadline, no service config, no names."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel


def counted(scripted, method, code):
    return scripted.telemetry.requests.labels(method, code)._value.get()


def in_flight(scripted, method):
    return scripted.telemetry.requests_in_flight.labels(method)._value.get()


async def test_who_calls_is_known_to_the_handler(vision, scripted):
    seen = []

    async def read():
        seen.append(current())
        return vision_pb2.ReadTextResponse()

    scripted.read = read
    enter(RequestContext("acme", "request-7", CancellationToken(time.monotonic() + 9)))
    await vision.ReadText(READ)
    enter(RequestContext())
    await vision.ReadText(READ)
    assert (seen[0].tenant, seen[0].request_id) == ("acme", "request-7")
    assert 0 < seen[0].cancellation.remaining_seconds() < 9.1  # gRPC rounds timeouts up
    assert seen[1].tenant == "default"
    assert len(seen[1].request_id) == 32
    assert (
        25 < seen[1].cancellation.remaining_seconds() <= timeouts(VISION)[f"/{VISION}/ReadText"]
    )  # the client spends the contract's


async def test_odd_metadata_is_refused_or_ignored_and_never_a_crash(raw):
    stub = vision_pb2_grpc.VisionServiceStub(raw)
    for key, value in (("x-polyphony-tenant", "a b"), ("x-request-id", "x" * 200), ("x-polyphony-tenant", "../etc")):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ReadText(READ, metadata=[(key, value)])
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await stub.ReadText(READ, metadata=[("some-bin", b"\xff\x00"), ("traceparent", "nonsense"), ("x-other", "~")])
    await stub.ReadText(READ, metadata=[("x-polyphony-tenant-bin", b"\xff\xfe")])


async def test_a_method_that_nobody_wrote_is_unimplemented(transcription):
    request = transcription_pb2.TranscribeRequest(audio=READ.image)
    with pytest.raises(Unimplemented):
        async for _ in transcription.Transcribe(request):
            pass


async def test_a_caller_that_leaves_sets_the_flag_of_a_unary_call(raw, scripted):
    began, cancellations = asyncio.Event(), []

    async def read():
        cancellations.append(current().cancellation)
        began.set()
        await asyncio.sleep(60)

    scripted.read = read
    call = vision_pb2_grpc.VisionServiceStub(raw).ReadText(READ)
    task = asyncio.ensure_future(call)
    await began.wait()
    call.cancel()
    await until(lambda: cancellations[0].disconnected)
    await until(lambda: in_flight(scripted, "VisionService/ReadText") == 0)
    assert counted(scripted, "VisionService/ReadText", "CANCELLED") == 1
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("reads", [True, False])
async def test_a_caller_that_leaves_a_stream_sets_the_flag_and_closes_it(raw, scripted, reads):
    """Also where the server waits for a caller that does not read."""
    cancellations, closed, sent = [], [], []

    async def speak():
        cancellations.append(current().cancellation)
        try:
            while True:
                yield synthesis_pb2.SynthesizeResponse(chunk=bytes(100_000))
                sent.append(1)
                await asyncio.sleep(0.001)
        finally:
            closed.append(asyncio.current_task())

    scripted.speak = speak
    call = synthesis_pb2_grpc.SynthesisServiceStub(raw).Synthesize(SPEAK)
    await call.read()
    if not reads:
        before = -1
        while before != len(sent):
            before = len(sent)
            await asyncio.sleep(0.1)
    call.cancel()
    await until(lambda: cancellations[0].disconnected)
    await until(lambda: closed)
    count = len(sent)
    await asyncio.sleep(0.05)
    assert len(sent) <= count + 1
    await until(lambda: counted(scripted, "SynthesisService/Synthesize", "CANCELLED") == 1)


async def test_the_shorter_deadline_ends_the_call_and_cancels_it(vision, scripted):
    cancellations = []

    async def read():
        cancellations.append(current().cancellation)
        await asyncio.sleep(60)

    scripted.read = read
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 1.0)))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await vision.ReadText(READ)
    assert 0.9 < time.monotonic() - began < 5
    await until(lambda: cancellations[0].cancelled)


async def test_the_default_deadline_holds_for_callers_that_set_none(scripted, settings):
    cancellations = []

    async def read():
        cancellations.append(current().cancellation)
        await asyncio.sleep(60)

    async def speak():
        yield synthesis_pb2.SynthesizeResponse(chunk=b"1")
        await asyncio.sleep(60)

    scripted.read, scripted.speak = read, speak
    seconds = {f"/{VISION}/ReadText": 0.2, f"/{SYNTHESIS}/Synthesize": 0.2}
    telemetry = Telemetry(settings)
    server = grpc.aio.server(interceptors=[CallInterceptor(telemetry, seconds)])
    spec = await scripted.build(settings, telemetry)
    server.add_generic_rpc_handlers(tuple(handlers(service, scripted) for service in spec.services))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert cancellations[0].cancelled
        call = synthesis_pb2_grpc.SynthesisServiceStub(channel).Synthesize(SPEAK)
        assert (await call.read()).chunk == b"1"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await server.stop(0)


async def test_every_call_is_counted_by_how_it_ended(vision, synthesis, scripted):
    await vision.ReadText(READ)
    assert [response.chunk async for response in synthesis.Synthesize(SPEAK)] == [b"1"]
    with pytest.raises(InvalidArgument):
        await vision.ReadText(vision_pb2.ReadTextRequest())

    async def fail():
        raise ValueError

    scripted.read = fail
    with pytest.raises(Exception, match="internal"):
        await vision.ReadText(READ)
    codes = {code: counted(scripted, "VisionService/ReadText", code) for code in ("OK", "INVALID_ARGUMENT", "INTERNAL")}
    assert codes == {"OK": 1, "INVALID_ARGUMENT": 1, "INTERNAL": 1}
    assert counted(scripted, "SynthesisService/Synthesize", "OK") == 1
    assert (in_flight(scripted, "VisionService/ReadText"), in_flight(scripted, "SynthesisService/Synthesize")) == (0, 0)
