"""Live sessions over real sockets: by the official client, and as a browser opens them."""

import asyncio
import base64
import hashlib
import json
import socket
from contextlib import asynccontextmanager, suppress

import av
import numpy as np
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polyphony.speech.v1.speech_pb2 import StreamingConfig
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.app import build_app
from gateway.realtime import session as realtime
from gateway.realtime.g711 import to_pcm
from gateway.realtime.stream import WAITING_PIECES, Hearing
from gateway.web import WebServer
from servekit.errors import Cancelled, Overloaded

LOUD, QUIET = b"\x00\x10" * 2400, bytes(4800)  # a tenth of a second of 24 kHz
KEY = "a" * 64


@pytest.fixture
async def serve_gateway(build):
    """`port, parts = await serve_gateway(...)`: a listening gateway."""
    running = []

    async def start(**changes):
        parts = build(http_port=0, drain_seconds=2, **changes)
        web = WebServer(build_app(parts), parts.settings)
        await web.start()
        running.append(web)
        return web, parts

    yield start
    for web in running:
        await web.stop()


@pytest.fixture
async def gateway(serve_gateway):
    return await serve_gateway()


@pytest.fixture
def url(gateway):
    return f"ws://127.0.0.1:{gateway[0].port}/v1/realtime"


@asynccontextmanager
async def session(url, **options):
    """An open session, its opening event read."""
    async with connect(url, **options) as ws:
        opened = json.loads(await ws.recv())
        assert opened["type"] == "session.created"
        yield ws


async def ask(ws, kind, **fields):
    await ws.send(json.dumps({"type": kind, **fields}))


async def until(ws, kind):
    """The events up to the first of a kind."""
    events = []
    async with asyncio.timeout(5):
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await ws.recv()))
    return events


COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
PARTIAL = "polyphony.input_audio_transcription.partial"


async def test_the_official_client(gateway, orders):
    async with openai.AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{gateway[0].port}/v1") as client:
        connecting = client.realtime.connect(model="whisper-1", extra_query={"intent": "transcription"})
        async with connecting as connection, asyncio.timeout(5):
            created = await connection.recv()
            assert (created.type, created.session.type) == ("session.created", "transcription")
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {
                        "input": {
                            "format": {"type": "audio/pcm", "rate": 24000},
                            "transcription": {"model": "whisper-1", "language": "en", "prompt": "Names"},
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                        }
                    },
                }
            )
            updated = await connection.recv()
            assert updated.type == "session.updated"
            assert updated.session.audio.input.turn_detection.silence_duration_ms == 300
            assert updated.session.audio.input.transcription.model == "fake-transcriber"
            for piece in (LOUD, LOUD, LOUD, QUIET):
                await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())
            events = []
            async for event in connection:
                events.append(event)
                if event.type == COMPLETED:
                    break
    assert [event.type for event in events if event.type != PARTIAL] == [
        "input_audio_buffer.speech_started", DELTA, DELTA, DELTA,
        "input_audio_buffer.speech_stopped", "input_audio_buffer.committed", COMPLETED,
    ]  # fmt: skip
    assert "".join(event.delta for event in events if event.type == DELTA) == "w0 w1 w2" == events[-1].transcript
    assert len({event.item_id for event in events}) == 1
    assert events[-1].usage.seconds == pytest.approx(0.4)
    assert events[-1].polyphony == {"start": 0.0, "end": 0.4, "language": "en", "latency_ms": 250}
    (config,) = orders.requests("StreamingTranscribe")
    assert (config.model, config.language, config.prompt) == ("fake-transcriber", "en", "Names")
    assert (config.sample_rate_hertz, config.end_silence_seconds) == (24_000, 0.3)


async def test_binary_frames_and_the_words_that_may_change(url):
    async with session(url, subprotocols=["realtime"]) as ws:
        assert ws.subprotocol == "realtime"
        assert ws.response.headers["x-request-id"]
        await ws.send(LOUD)
        events = await until(ws, PARTIAL)
        assert events[-1]["text"] == "w0"
        await ws.send(LOUD)
        events = await until(ws, PARTIAL)
        assert [(event["type"], event.get("delta")) for event in events[:-1]] == [(DELTA, "w0")]
        await ws.send(QUIET)
        assert (await until(ws, COMPLETED))[-1]["transcript"] == "w0 w1"
        await ws.send(LOUD + LOUD)
        await ask(ws, "input_audio_buffer.commit")
        await ws.send(QUIET)
        events = await until(ws, COMPLETED)
        assert events[0]["audio_start_ms"] == 300
        assert events[-2]["previous_item_id"]


async def test_the_betas_names(url, orders):
    async with connect(url, additional_headers={"OpenAI-Beta": "realtime=v1"}) as ws:
        created = json.loads(await ws.recv())
        assert (created["type"], created["session"]["input_audio_format"]) == ("transcription_session.created", "pcm16")
        change = {"input_audio_format": "g711_ulaw", "input_audio_transcription": {"language": "de"}}
        await ask(ws, "transcription_session.update", session=change)
        updated = json.loads(await ws.recv())
        assert updated["type"] == "transcription_session.updated"
        assert updated["session"]["input_audio_transcription"] == {
            "model": "fake-transcriber", "language": "de", "prompt": "", "keywords": [],
        }  # fmt: skip
        await ws.send(bytes(range(128)))
        await until(ws, PARTIAL)
    assert orders.requests("StreamingTranscribe")[0].sample_rate_hertz == 8_000
    assert len(orders.requests("piece")[0].audio) == 256


async def test_by_hand_an_item_is_what_was_sent_since_the_last_commit(url, orders):
    async with session(url) as ws:
        change = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
        await ask(ws, "session.update", session=change)
        await until(ws, "session.updated")
        for piece in (LOUD, LOUD, QUIET, QUIET, LOUD):
            await ws.send(piece)
        await ask(ws, "input_audio_buffer.commit")
        events = await until(ws, COMPLETED)
        assert "input_audio_buffer.speech_started" not in {event["type"] for event in events}
        assert events[-1]["transcript"] == "w0 w1 w0"
        assert "".join(event["delta"] for event in events if event["type"] == DELTA) == "w0 w1 w0"
        assert (events[-1]["polyphony"]["start"], events[-1]["polyphony"]["end"]) == (0.0, 0.5)
        await ws.send(QUIET)
        await ask(ws, "input_audio_buffer.commit")
        events = await until(ws, COMPLETED)
        assert events[-1]["transcript"] == ""
        assert [event["type"] for event in events] == ["input_audio_buffer.committed", COMPLETED]
        await ask(ws, "input_audio_buffer.commit", event_id="mine")
        (error,) = await until(ws, "error")
        assert (error["error"]["param"], error["error"]["event_id"]) == ("input_audio_buffer", "mine")
    assert orders.requests("StreamingTranscribe")[0].end_silence_seconds == 3.0


async def test_what_is_cleared_is_not_written_down(url, orders):
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        await ask(ws, "input_audio_buffer.clear")
        await until(ws, "input_audio_buffer.cleared")
        await ws.send(LOUD)
        await ws.send(QUIET)
        events = await until(ws, COMPLETED)
        assert (events[0]["audio_start_ms"], events[-1]["transcript"]) == (100, "w0")


async def test_a_change_ends_the_running_phrase_and_time_goes_on(url):
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        change = {"type": "transcription", "audio": {"input": {"transcription": {"language": "fr"}}}}
        await ask(ws, "session.update", session=change)
        events = await until(ws, "session.updated")
        assert COMPLETED in [event["type"] for event in events]
        await ws.send(LOUD)
        assert (await until(ws, PARTIAL))[0]["audio_start_ms"] == 100


async def test_a_pause_gives_the_stream_back(url, orders, monkeypatch):
    monkeypatch.setattr(realtime, "IDLE_SECONDS", 0.1)
    async with session(url) as ws:
        await ws.send(LOUD)
        assert (await until(ws, COMPLETED))[-1]["transcript"] == "w0"
        await ws.send(LOUD)
        assert (await until(ws, COMPLETED))[-1]["polyphony"]["start"] == 0.1
    assert len(orders.requests("StreamingTranscribe")) == 2


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("{", "body"),
        ("[]", "body"),
        ('{"type": "response.create"}', "type"),
        ('{"type": "input_audio_buffer.append", "audio": "%"}', "audio"),
        ('{"type": "input_audio_buffer.append"}', "audio"),
        ('{"type": "session.update", "session": {"type": "realtime"}}', "session.type"),
        ('{"type": "session.update", "session": {"audio": {"input": {"format": {"type": "audio/pcm", "rate": 1}}}}}',
         "session.audio.input.format.rate"),
        ('{"type": "session.update", "session": {"audio": {"input": {"noise_reduction": {"type": "near_field"}}}}}',
         "session.audio.input.noise_reduction"),
        ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}}',
         "session.audio.input.turn_detection.type"),
        ('{"type": "session.update", "session": {"audio": {"input": {"transcription": {"model": "fake-reader"}}}}}',
         "model"),
        ('{"type": "session.update", "session": {"audio": {"input": {"transcription": {"language": "xx"}}}}}',
         "language"),
        ('{"type": "session.update", "session": {"audio": {"input": {"turn_detection": {"type": "server_vad", '
         '"threshold": 0}}}}}', "session.audio.input.turn_detection.threshold"),
        ('{"type": "session.update", "session": {"include": ["item.input_audio_transcription.logprobs"]}}',
         "session.include"),
        ('{"type": "transcription_session.update", "session": {"include": ["x"]}}', "session.include"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_an_event_and_the_session_goes_on(url, message, param):
    async with session(url) as ws:
        await ws.send(message)
        (error,) = await until(ws, "error")
        assert (error["error"]["type"], error["error"]["param"]) == ("invalid_request_error", param)
        assert error["error"]["message"]
        await ws.send(LOUD)
        await until(ws, PARTIAL)


async def test_a_phrase_is_committed_once(url):
    async with session(url) as ws:
        await ws.send(LOUD)
        await ask(ws, "input_audio_buffer.commit")
        await ask(ws, "input_audio_buffer.commit", event_id="mine")
        error = (await until(ws, "error"))[-1]["error"]
        assert (error["param"], error["event_id"]) == ("input_audio_buffer", "mine")


async def test_a_phrase_that_has_ended_by_itself_is_not_committed_again(url):
    async with session(url) as ws:
        for piece in (LOUD, QUIET, QUIET):
            await ws.send(piece)
        await until(ws, COMPLETED)
        await ask(ws, "input_audio_buffer.commit", event_id="mine")
        (error,) = await until(ws, "error")
        assert (error["error"]["code"], error["error"]["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        await ws.send(LOUD)
        await ask(ws, "input_audio_buffer.commit")
        events = await until(ws, COMPLETED)
        assert (events[0]["audio_start_ms"], events[-1]["transcript"]) == (300, "w0")


async def test_an_unknown_model_does_not_end_a_session_either(url):
    async with session(url) as ws:
        change = {"type": "transcription", "audio": {"input": {"transcription": {"model": "none"}}}}
        await ask(ws, "session.update", session=change)
        (error,) = await until(ws, "error")
        assert (error["error"]["code"], error["error"]["param"]) == ("not_found", "model")
        await ws.send(LOUD)
        await until(ws, PARTIAL)


@pytest.mark.parametrize(
    ("error", "code"), [(Overloaded("too many", retry_after=1.0), 1013), (Cancelled("nothing came"), 1008)]
)
async def test_what_the_service_says_no_to_is_told_and_ends_the_session(url, orders, error, code):
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


async def test_a_client_that_leaves_stops_the_work(gateway, url, orders):
    orders.seconds["piece"] = 30
    async with session(url) as ws:
        await ws.send(LOUD)
        await asyncio.wait_for(orders.arrived["piece"].wait(), 5)
    await asyncio.wait_for(orders.left.wait(), 2)
    counted = gateway[1].telemetry
    for _ in range(100):
        if not counted.in_flight.labels("WS /v1/realtime")._value.get():
            break
        await asyncio.sleep(0.02)
    assert counted.requests.labels("WS /v1/realtime", "OK")._value.get() == 1


async def test_a_client_that_leaves_while_its_sound_is_backed_up_is_let_go(gateway, url, orders):
    orders.seconds["piece"] = 0.2
    async with session(url, write_limit=1 << 16, close_timeout=0.1) as ws:
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(0.5):
                while True:
                    await ws.send(LOUD * 100)
        ws.transport.abort()
    in_flight = gateway[1].telemetry.in_flight.labels("WS /v1/realtime")._value
    for _ in range(150):
        if not in_flight.get():
            break
        await asyncio.sleep(0.02)
    assert not in_flight.get()


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_stream_that_the_service_ends_says_so_and_lets_its_sender_go_on(refuses):
    class Service:
        async def StreamingTranscribe(self, requests):
            yield await anext(requests)
            if refuses:
                raise Overloaded("too many", retry_after=1.0)

    async def heard(response): ...

    told = []
    hearing = Hearing(Service(), StreamingConfig(), heard, told.append)
    async with asyncio.timeout(2):
        for _ in range(2 * WAITING_PIECES):
            await hearing.hear(LOUD)
        await hearing.finish()
    (error,) = told
    assert "too many" in error.message if refuses else "ended" in error.message


async def test_sound_that_nobody_hears_is_not_taken_into_memory(url, orders):
    orders.seconds["piece"] = 60
    async with session(url, write_limit=1 << 16, close_timeout=0.1) as ws:
        sent = 0
        with pytest.raises(TimeoutError):  # noqa: PT012
            async with asyncio.timeout(1):
                while True:
                    await ws.send(LOUD * 100)
                    sent += len(LOUD) * 100
        assert sent < 32 << 20  # what gRPC, the kernel and either WebSocket hold
        ws.transport.abort()


async def test_a_frame_that_is_too_large_closes_the_socket(serve_gateway):
    web, _ = await serve_gateway(realtime_frame_bytes=10_000)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime") as ws:
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.gather(ws.send(bytes(20_000)), ws.recv())
        assert closed.value.rcvd.code == 1009


async def test_a_session_has_an_end(serve_gateway):
    web, _ = await serve_gateway(realtime_seconds=0.3)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime") as ws:
        await ws.send(LOUD)
        events = await until(ws, "error")
        assert COMPLETED in [event["type"] for event in events]
        assert "lasts 0.3 s" in events[-1]["error"]["message"]


async def test_a_session_ends_though_the_service_takes_nothing_more(serve_gateway, orders, monkeypatch):
    monkeypatch.setattr(realtime, "LAST_WORDS_SECONDS", 0.2)
    orders.seconds["piece"] = 60
    web, _ = await serve_gateway(realtime_seconds=1)
    async with session(f"ws://127.0.0.1:{web.port}/v1/realtime", close_timeout=0.1) as ws:
        sending = asyncio.create_task(send_on(ws))
        assert "lasts 1 s" in (await until(ws, "error"))[-1]["error"]["message"]
        ws.transport.abort()
        await asyncio.wait([sending])


async def send_on(ws):
    """Send sound until the socket is closed."""
    with suppress(ConnectionClosed):
        while True:
            await ws.send(LOUD * 100)


async def test_a_gateway_that_stops_says_so_after_the_last_words(gateway, url):
    web, parts = gateway
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        parts.leaving.set()
        stopping = asyncio.create_task(web.stop())
        events = await until(ws, "error")
        assert COMPLETED in [event["type"] for event in events]
        assert events[-1]["error"]["code"] == "unavailable"
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        await asyncio.wait_for(stopping, 3)


# The handshake.


async def refused(url, **options):
    """The body of the answer that is not an upgrade, and its status."""
    with pytest.raises(InvalidStatus) as raised:
        async with connect(url, **options):
            pass
    response = raised.value.response
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body)["error"]


async def test_the_handshake_says_what_is_wrong(url):
    assert (await refused(f"{url}?model=none"))[0] == 404
    status, error = await refused(f"{url}?intent=conversation")
    assert (status, error["param"]) == (400, "intent")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null", "http://127.0.0.1"])
async def test_a_foreign_page_reaches_nobody_who_asks_for_no_key(url, origin):
    status, error = await refused(url, origin=origin)
    assert (status, error["param"]) == (403, "origin")


async def test_a_foreign_name_that_leads_here_is_a_foreign_page(gateway):
    async def lead(name):
        local = socket.create_connection(("127.0.0.1", gateway[0].port))
        url = f"ws://{name}:{gateway[0].port}/v1/realtime"
        async with connect(url, origin=url.replace("ws:", "http:").removesuffix("/v1/realtime"), sock=local):
            return True

    with pytest.raises(InvalidStatus):
        await lead("rebound.example")
    assert await lead("localhost")


async def test_a_key_comes_in_the_header_or_as_a_subprotocol(serve_gateway, tmp_path):
    path = tmp_path / "keys.toml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    path.write_text(f'[[keys]]\nsha256 = "{digest}"\nowner = "acme"\n')
    web, _ = await serve_gateway(keys_file=path)
    url = f"ws://127.0.0.1:{web.port}/v1/realtime"
    assert (await refused(url))[0] == 401
    assert (await refused(url, subprotocols=["realtime", "openai-insecure-api-key.wrong"]))[0] == 401
    async with session(url, additional_headers={"Authorization": f"Bearer {KEY}"}):
        pass
    async with session(
        url, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"], origin="https://app.example"
    ) as ws:
        assert ws.subprotocol == "realtime"


@given(st.binary(max_size=300), st.sampled_from(["mu", "a"]))
def test_telephone_sound_is_what_ffmpeg_makes_of_it(data, law):
    codec = av.CodecContext.create({"mu": "pcm_mulaw", "a": "pcm_alaw"}[law], "r")
    codec.sample_rate, codec.layout = 8000, "mono"
    frames = codec.decode(av.Packet(data)) if data else []
    expected = np.concatenate([np.zeros(0, np.int16), *(frame.to_ndarray().reshape(-1) for frame in frames)])
    assert to_pcm(data, law) == expected.astype("<i2").tobytes()
