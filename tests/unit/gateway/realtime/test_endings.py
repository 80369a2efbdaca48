"""How a live session ends: by its client, the service behind it, its bounds, or the gateway."""

import asyncio
from contextlib import suppress
from functools import partial

import pytest
from polyphony.speech.v1.transcription_pb2 import StreamingConfig
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.realtime import session as realtime
from gateway.realtime.stream import MAX_WAITING_CHUNKS, TranscriptionStream
from servekit.errors import Cancelled, Overloaded

from .conftest import COMPLETED, LOUD, PARTIAL, session, until


@pytest.mark.parametrize(
    ("error", "code"), [(Overloaded("too many", retry_after=1.0), 1013), (Cancelled("nothing came"), 1008)]
)
async def test_an_error_of_the_service_is_sent_and_ends_the_session(url, orders, error, code):
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        orders.fail["piece"] = error
        await ws.send(LOUD)
        events = await until(ws, "error")
        assert events[-1]["error"]["message"] == error.message
        assert events[-2]["type"] == "conversation.item.input_audio_transcription.failed"
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == code


async def test_a_disconnect_cancels_the_work(gateway, url, orders):
    orders.seconds["piece"] = 30
    async with session(url) as ws:
        await ws.send(LOUD)
        await asyncio.wait_for(orders.arrived["piece"].wait(), 20)
    await asyncio.wait_for(orders.left.wait(), 20)
    counted = gateway[1].telemetry
    for _ in range(1000):
        if not counted.requests_in_flight.labels("WS /v1/realtime")._value.get():
            break
        await asyncio.sleep(0.02)
    assert counted.requests.labels("WS /v1/realtime", "OK")._value.get() == 1


async def test_a_disconnect_with_queued_audio_ends_the_session(gateway, url, orders):
    orders.seconds["piece"] = 0.2
    async with session(url, write_limit=1 << 16, close_timeout=0.1) as ws:
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(0.5):
                while True:
                    await ws.send(LOUD * 100)
        ws.transport.abort()
    in_flight = gateway[1].telemetry.requests_in_flight.labels("WS /v1/realtime")._value
    for _ in range(1000):
        if not in_flight.get():
            break
        await asyncio.sleep(0.02)
    assert not in_flight.get()


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_stream_ended_by_the_service_fails_and_releases_its_sender(refuses):
    class Service:
        async def StreamingTranscribe(self, requests):
            yield await anext(requests)
            if refuses:
                raise Overloaded("too many", retry_after=1.0)

    async def heard(response): ...

    told = []
    hearing = TranscriptionStream(Service(), StreamingConfig(), heard, told.append)
    async with asyncio.timeout(20):
        for _ in range(2 * MAX_WAITING_CHUNKS):
            await hearing.send(LOUD)
        await hearing.finish()
    (error,) = told
    assert "too many" in error.message if refuses else "ended" in error.message


async def test_a_stream_queues_a_few_chunks_that_the_service_has_not_read():
    class Service:
        async def StreamingTranscribe(self, requests):
            await asyncio.Event().wait()
            yield

    async def ignore(response): ...

    stream = TranscriptionStream(Service(), StreamingConfig(), ignore, print)
    for _ in range(MAX_WAITING_CHUNKS):
        await stream.send(LOUD)
    sending = asyncio.create_task(stream.send(LOUD))
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done
    await stream.cancel()
    await sending


async def test_a_client_that_sends_faster_than_its_audio_is_read_waits(url, orders):
    orders.seconds["piece"] = 60
    message = LOUD * 100
    async with session(url, write_limit=1 << 16, close_timeout=0.1) as ws:
        with pytest.raises(TimeoutError):  # noqa: PT012
            for _ in range((256 << 20) // len(message)):  # far more than gRPC, the kernel and either WebSocket hold
                async with asyncio.timeout(3):
                    await ws.send(message)
        ws.transport.abort()


async def test_a_frame_that_is_too_large_closes_the_socket(serve_gateway):
    web, _ = await serve_gateway(max_realtime_message_bytes=10_000)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime") as ws:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.gather(ws.send(bytes(20_000)), ws.recv())
        assert closed.value.rcvd.code == 1009


async def test_a_session_has_an_end(serve_gateway):
    web, _ = await serve_gateway(max_realtime_session_seconds=1)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime") as ws:
        await ws.send(LOUD)
        events = await until(ws, "error")
        assert COMPLETED in [event["type"] for event in events]
        assert "must last at most 1 s" in events[-1]["error"]["message"]


async def test_a_session_ends_though_the_service_takes_nothing_more(serve_gateway, orders, monkeypatch):
    monkeypatch.setattr(realtime, "CLOSE_SECONDS", 0.2)
    orders.seconds["piece"] = 60
    web, _ = await serve_gateway(max_realtime_session_seconds=1)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime", close_timeout=0.1) as ws:
        sending = asyncio.create_task(send_on(ws))
        assert "must last at most 1 s" in (await until(ws, "error"))[-1]["error"]["message"]
        ws.transport.abort()
        await asyncio.wait([sending])


async def send_on(ws):
    """Send sound until the socket is closed."""
    with suppress(ConnectionClosed):
        while True:
            await ws.send(LOUD * 100)


async def test_at_shutdown_the_last_transcript_precedes_the_error(gateway, url):
    web, state = gateway
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        state.shutting_down.set()
        stopping = asyncio.create_task(web.stop())
        events = await until(ws, "error")
        assert COMPLETED in [event["type"] for event in events]
        assert events[-1]["error"]["code"] == "unavailable"
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        await asyncio.wait_for(stopping, 20)


async def test_sessions_beyond_their_number_are_refused_until_one_ends(serve_gateway):
    web, state = await serve_gateway(max_realtime_sessions=2)  # of which one tenant may have one
    url = f"ws://127.0.0.1:{web.port}/v1/realtime"
    open_sessions = partial(state.telemetry.registry.get_sample_value, "polyphony_realtime_sessions")
    async with session(url):
        assert open_sessions() == 1
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["retry-after"] == "10"
    async with asyncio.timeout(20):
        while open_sessions():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
    async with session(url):
        assert open_sessions() == 1


async def test_a_session_without_an_event_of_its_client_ends(serve_gateway):
    web, _ = await serve_gateway(max_realtime_idle_seconds=0.1)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime") as ws:
        error = (await until(ws, "error"))[-1]["error"]
        assert (error["code"], error["message"]) == (
            "timeout",
            "a live session must get an event from its client within 0.1 s",
        )
        await ws.wait_closed()
