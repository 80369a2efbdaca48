"""`/v1/audio/speech` and `/v1/audio/voices` over services that do as they are told, also by the official client."""

import base64
import json

import httpx
import pytest
from openai import AsyncOpenAI
from polyphony.speech.v1.voices_pb2 import Voice

from gateway.app import build_app
from servekit.errors import InvalidArgument, Unimplemented


@pytest.fixture
async def client(state):
    transport = httpx.ASGITransport(build_app(state))
    async with httpx.AsyncClient(transport=transport) as http:
        yield AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=http, max_retries=0)


async def test_speech_is_synthesized(client, orders):
    spoken = await client.audio.speech.create(
        model="tts-1", voice="low", input="hello", response_format="flac", speed=1.5, extra_body={"language": "en"}
    )
    assert spoken.content == b"hello"
    assert spoken.response.headers["content-type"] == "audio/flac"
    (asked,) = orders.requests("Synthesize")
    assert (asked.model, asked.voice, asked.speed) == ("fake-synthesizer", "low", 1.5)
    assert (asked.mime_type, asked.language) == ("audio/flac", "en")


async def test_a_voice_may_be_an_id_and_determines_the_model(http, orders):
    answer = await http.post("/v1/audio/speech", json={"input": "hi", "voice": {"id": "low"}})
    assert answer.content == b"hi"
    assert orders.requests("Synthesize")[0].voice == "low"
    assert orders.requests("ListVoices")


@pytest.mark.parametrize("model", ["", "tts-1"])
async def test_the_official_clients_voices_are_the_models_own_unless_one_is_so_called(http, orders, model):
    asked = {"input": "hi", "voice": "nova", "model": model}
    assert (await http.post("/v1/audio/speech", json=asked)).status_code == 200
    orders.voices.append(Voice(name="nova", model="fake-synthesizer"))
    assert (await http.post("/v1/audio/speech", json=asked)).status_code == 200
    assert [request.voice for request in orders.requests("Synthesize")] == ["default", "nova"]


async def test_events_carry_the_audio_and_its_usage(http):
    answer = await http.post(
        "/v1/audio/speech", json={"input": "hey", "stream_format": "sse", "response_format": "pcm"}
    )
    assert answer.headers["content-type"].startswith("text/event-stream")
    *lines, end = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert end == "[DONE]"
    *deltas, done = map(json.loads, lines)
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == b"hey "
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 3, "output_tokens": 20, "total_tokens": 23},
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": "hi", "instructions": "Whisper."}, "instructions"),
        ({"input": "hi", "voice": 5}, "voice"),
        ({"input": "hi", "voice": {"name": "low"}}, "voice.name"),
        ({"input": "hi", "speed": 5}, "speed"),
        ({"input": "hi", "response_format": "midi"}, "response_format"),
        ({"input": "hi", "stream_format": "chunks"}, "stream_format"),
        ({"input": "hi", "language": "English"}, "language"),
        ({"input": "hi", "model": "whisper-1"}, "model"),
    ],
)
async def test_invalid_fields_are_named(http, body, param):
    answer = await http.post("/v1/audio/speech", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param.partition(".")[0])


async def test_an_error_about_the_text_names_the_input(http, orders):
    orders.fail["Synthesize"] = InvalidArgument("cannot read it", field="text")
    for stream_format in ("audio", "sse"):
        answer = await http.post("/v1/audio/speech", json={"input": "你", "stream_format": stream_format})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


async def test_a_voice_is_made_listed_and_deleted_by_the_official_client(client, http, orders):
    made = await client.audio.voices.create(
        audio_sample=("a.wav", b"RIFF", "audio/wav"), consent="Anna agreed on 1 May", name="anna", type="audio_sample"
    )
    assert (made.id, made.name, made.object, made.created_at) == ("anna", "anna", "audio.voice", 1_700_000_000)
    (asked,) = orders.requests("CreateVoice")
    assert (asked.consent, asked.consent_statement) == (True, "Anna agreed on 1 May")
    assert asked.reference_audio.inline == b"RIFF"
    listed = (await http.get("/v1/audio/voices")).json()["data"]
    assert [(voice["id"], voice["type"]) for voice in listed] == [("low", "built_in"), ("anna", "audio_sample")]
    deleted = await client.audio.voices.delete("anna")
    assert (deleted.id, deleted.deleted, deleted.object) == ("anna", True, "audio.voice.deleted")
    assert (await http.delete("/v1/audio/voices/berta")).status_code == 404


@pytest.mark.parametrize(
    ("consent", "statement", "stated"),
    [("true", "Anna, in writing", "Anna, in writing"), ("cons_123", "", "cons_123"), ("yes", "Anna", "Anna")],
)
async def test_consent_is_accepted_in_both_forms(http, orders, consent, statement, stated):
    form = {"name": "anna", "consent": consent, "consent_statement": statement, "text": "Hello.", "language": "en"}
    await http.post("/v1/audio/voices", data=form, files={"file": ("a.wav", b"RIFF")})
    (asked,) = orders.requests("CreateVoice")
    assert (asked.consent, asked.consent_statement) == (True, stated)
    assert (asked.reference_text, asked.language, asked.model) == ("Hello.", "en", "")


@pytest.mark.parametrize(
    ("form", "param"), [({"consent": "false"}, "consent"), ({}, "consent"), ({"consent": "true"}, "consent_statement")]
)
async def test_without_consent_no_voice_is_made(http, orders, form, param):
    answer = await http.post("/v1/audio/voices", data={"name": "anna", **form}, files={"file": ("a.wav", b"RIFF")})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert not orders.requests("CreateVoice")


async def test_an_error_about_the_recording_names_the_sample(http, orders):
    files = {"audio_sample": ("a.wav", b"RIFF")}
    orders.fail["CreateVoice"] = InvalidArgument("0.3 s of speech", field="reference_audio")
    answer = await http.post("/v1/audio/voices", data={"name": "anna", "consent": "yes"}, files=files)
    assert answer.json()["error"]["param"] == "audio_sample"
    orders.fail["CreateVoice"] = Unimplemented("no model", field="model")
    assert (await http.post("/v1/audio/voices", data={"name": "a", "consent": "yes"}, files=files)).status_code == 501
    without = await http.post("/v1/audio/voices", files={"name": (None, "anna")})
    assert without.json()["error"]["param"] == "file"
