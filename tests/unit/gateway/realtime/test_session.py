"""Live sessions over real sockets: by the official client, and as a browser speaks."""

import asyncio
import base64
import json

import openai
import pytest
from websockets.asyncio.client import connect

from gateway.realtime import session as realtime

from .conftest import COMPLETED, DELTA, LOUD, PARTIAL, QUIET, ask, session, until


async def test_the_official_client(gateway, orders):
    async with openai.AsyncOpenAI(api_key="none", base_url=f"http://127.0.0.1:{gateway[0].port}/v1") as client:
        connecting = client.realtime.connect(model="whisper-1", extra_query={"intent": "transcription"})
        async with connecting as connection, asyncio.timeout(20):
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


async def test_with_manual_commit_an_item_is_the_audio_since_the_last_commit(url, orders):
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


async def test_cleared_audio_is_not_transcribed(url, orders):
    async with session(url) as ws:
        await ws.send(LOUD)
        await until(ws, PARTIAL)
        await ask(ws, "input_audio_buffer.clear")
        await until(ws, "input_audio_buffer.cleared")
        await ws.send(LOUD)
        await ws.send(QUIET)
        events = await until(ws, COMPLETED)
        assert (events[0]["audio_start_ms"], events[-1]["transcript"]) == (100, "w0")


async def test_an_update_ends_the_running_utterance_and_keeps_the_clock(url):
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
async def test_an_invalid_event_is_an_error_and_the_session_continues(url, message, param):
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


async def test_an_utterance_that_ended_at_a_pause_is_not_committed_again(url):
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


async def test_keywords_are_bounded(url):
    async with session(url) as ws:
        for count in (1001, 1000):
            transcription = {"keywords": ["a"] * count}
            await ask(ws, "session.update", session={"audio": {"input": {"transcription": transcription}}})
        error, updated = await until(ws, "session.updated")
    assert error["error"]["param"] == "session.audio.input.transcription.keywords"
    assert "length <= 1000" in error["error"]["message"]
    assert len(updated["session"]["audio"]["input"]["transcription"]["keywords"]) == 1000
