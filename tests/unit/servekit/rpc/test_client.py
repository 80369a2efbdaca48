"""The client: what it makes of sizes, absent peers, retries and deadlines."""

import asyncio
import socket
import time

import pytest
from polyphony.speech.v1 import synthesis_pb2, transcription_pb2
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc

from servekit.context import CancellationToken, RequestContext, current, enter
from servekit.errors import (
    DeadlineExceeded,
    EngineCrashed,
    FailedPrecondition,
    Overloaded,
    TooLarge,
    Unavailable,
    Unimplemented,
)
from servekit.rpc.client import connect
from tests.unit.servekit.conftest import READ, SPEAK, VISION


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


async def test_too_large_a_message_is_too_large_on_both_sides(serve, dial, scripted, settings):
    small = settings.model_copy(update={"max_message_bytes": 1 << 20})
    server = await serve(small, scripted.build)
    request = vision_pb2.ReadTextRequest(image=Media(inline=bytes(2 << 20), mime_type="image/png"))
    for ours in (small, settings):  # refused before it is sent, and by the server
        with pytest.raises(TooLarge) as caught:
            await vision_pb2_grpc.VisionServiceStub(dial(server, VISION, ours)).ReadText(request)
        assert caught.value.retry_after is None

    async def read():
        return vision_pb2.ReadTextResponse(lines=[vision_pb2.TextLine(text="x" * (2 << 20))])

    scripted.read = read
    with pytest.raises(TooLarge):
        await vision_pb2_grpc.VisionServiceStub(dial(server, VISION)).ReadText(READ)


async def test_a_service_that_is_not_there_is_unavailable_with_a_delay(settings):
    channel = connect(f"127.0.0.1:{free_port()}", "polyphony.vision.v1", settings)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 5)))
    with pytest.raises(Unavailable) as caught:
        await vision_pb2_grpc.VisionServiceStub(channel).ReadText(READ)
    assert caught.value.retry_after > 0
    assert "127.0.0.1" not in caught.value.message
    await channel.close()


async def test_a_new_channel_knows_nothing_of_the_failures_of_another(serve, dial, scripted, settings):
    first = await serve(settings, scripted.build)
    old = vision_pb2_grpc.VisionServiceStub(dial(first, VISION))
    await old.ReadText(READ)
    await first.stop()
    with pytest.raises(Unavailable):
        await old.ReadText(READ)
    second = await serve(settings.model_copy(update={"port": first.port}), scripted.build)
    assert (await vision_pb2_grpc.VisionServiceStub(dial(second, VISION)).ReadText(READ)).width == 1


@pytest.mark.parametrize("size", [10, 2 << 20])
async def test_what_is_unavailable_is_tried_again_however_large(vision, scripted, size):
    tries = []

    async def read():
        tries.append(1)
        if len(tries) < 3:
            raise EngineCrashed("not now")
        return vision_pb2.ReadTextResponse(width=7)

    scripted.read = read
    request = vision_pb2.ReadTextRequest(image=Media(inline=bytes(size), mime_type="image/png"))
    assert (await vision.ReadText(request)).width == 7
    assert len(tries) == 3


@pytest.mark.parametrize("cls", [Overloaded, FailedPrecondition, DeadlineExceeded])
async def test_nothing_else_is_tried_again(vision, scripted, cls):
    tries = []

    async def read():
        tries.append(1)
        raise cls("no")

    scripted.read = read
    with pytest.raises(cls):
        await vision.ReadText(READ)
    assert len(tries) == 1


async def test_a_stream_that_has_begun_is_not_tried_again(synthesis, scripted):
    tries = []

    async def speak():
        tries.append(1)
        yield synthesis_pb2.SynthesizeResponse(chunk=b"1")
        raise EngineCrashed("died")

    scripted.speak = speak
    responses = synthesis.Synthesize(SPEAK)
    await anext(responses)
    with pytest.raises(EngineCrashed):
        await anext(responses)
    assert len(tries) == 1


async def test_a_deadline_that_has_passed_is_not_a_call(vision, synthesis, scripted):
    tries = []

    async def read():
        tries.append(1)
        return vision_pb2.ReadTextResponse(width=1)

    async def speak():
        tries.append(1)
        yield synthesis_pb2.SynthesizeResponse(chunk=b"1")

    scripted.read, scripted.speak = read, speak
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() - 1)))
    for _ in range(50):  # with nothing left, gRPC places some of them
        with pytest.raises(DeadlineExceeded):
            await vision.ReadText(READ)
        with pytest.raises(DeadlineExceeded):
            await anext(synthesis.Synthesize(SPEAK))
    assert not tries


async def test_leaving_a_stream_cancels_the_call(synthesis, scripted):
    cancellations = []

    async def speak():
        cancellations.append(current().cancellation)
        while True:
            yield synthesis_pb2.SynthesizeResponse(chunk=b"1")
            await asyncio.sleep(0.001)

    scripted.speak = speak
    responses = synthesis.Synthesize(SPEAK)
    await anext(responses)
    await responses.aclose()
    for _ in range(200):
        if cancellations[0].disconnected:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the server still streams")


async def test_a_call_that_is_over_reads_no_further_requests(transcription):
    ended = asyncio.Event()

    async def requests():
        try:
            yield transcription_pb2.StreamingTranscribeRequest()
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Unimplemented):
        async for _ in transcription.StreamingTranscribe(requests()):
            pass
    assert ended.is_set()


async def test_requests_that_fail_fail_the_call(transcription, scripted):
    scripted.listens = True

    async def requests():
        yield transcription_pb2.StreamingTranscribeRequest()
        raise LookupError("nothing there")

    with pytest.raises(LookupError):
        async for _ in transcription.StreamingTranscribe(requests()):
            pass


async def test_cancelling_the_caller_cancels_the_call(vision, scripted):
    cancellations, began = [], asyncio.Event()

    async def read():
        cancellations.append(current().cancellation)
        began.set()
        await asyncio.sleep(60)

    scripted.read = read
    task = asyncio.ensure_future(vision.ReadText(READ))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(200):
        if cancellations[0].disconnected:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the server still works")


async def test_it_finds_a_service_that_has_come_back(serve, scripted, settings):
    port = free_port()
    channel = connect(f"127.0.0.1:{port}", "polyphony.vision.v1", settings)
    stub = vision_pb2_grpc.VisionServiceStub(channel)
    with pytest.raises(Unavailable):
        await stub.ReadText(READ)
    await serve(settings.model_copy(update={"port": port}), scripted.build)
    for _ in range(100):
        try:
            await stub.ReadText(READ)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            break
    else:
        pytest.fail("it does not find it")
    await channel.close()
