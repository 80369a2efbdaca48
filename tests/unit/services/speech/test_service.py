"""The speech service over real gRPC, on its fakes."""

import asyncio
import struct
import time

import numpy as np
import pytest
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, InvalidArgument, NotFound, TooLarge, UnsupportedMedia
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from services.speech.settings import SpeechSettings


def wav(seconds=7.0, level=0.3, seed=0):
    noise = np.random.default_rng(seed).uniform(-level, level, int(seconds * 16_000))
    return encode_audio(noise.astype(np.float32), "audio/wav", 16_000)


def hear(data, **more):
    return TranscribeRequest(audio=Media(inline=data, mime_type="audio/wav"), **more)


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, synthesize_slots=1, max_audio_seconds=60,
        max_text_characters=200, max_prompt_characters=50, drain_timeout_seconds=1.0,
    )  # fmt: skip


async def transcribe(stub, request):
    return [event async for event in stub.Transcribe(request)]


async def synthesize(stub, request):
    """The opening, the sound's bytes, the closing."""
    first, *chunks, last = [event async for event in stub.Synthesize(request)]
    return first.started, b"".join(event.chunk for event in chunks), last.finished


async def test_transcribes_segment_by_segment(stub):
    events = await transcribe(stub, hear(wav(), word_times=True))
    assert [event.WhichOneof("event") for event in events] == ["started", "segment", "segment", "finished"]
    assert (events[0].started.language, events[0].started.model) == ("en", "fake-transcriber")
    segment = events[2].segment
    assert (segment.time.start_seconds, segment.time.end_seconds) == (5.0, 7.0)
    assert [word.text for word in segment.words] == segment.text.split()
    assert events[3].finished.duration_seconds == 7.0
    assert events == await transcribe(stub, hear(wav(), word_times=True))
    other = await transcribe(stub, hear(wav(seed=1)))
    assert other[1].segment.text != events[1].segment.text
    assert not other[1].segment.words


async def test_a_stated_language_is_certain(stub):
    started = (await transcribe(stub, hear(wav(), language="de", model="whisper-1")))[0].started
    assert (started.language, started.language_probability) == ("de", 1.0)


async def test_silence_has_no_words(stub):
    events = await transcribe(stub, hear(wav(level=0.0)))
    assert [event.WhichOneof("event") for event in events] == ["started", "finished"]
    assert events[0].started.language == ""
    assert events[1].finished.speech_seconds == 0.0


async def test_a_recording_is_taken_by_reference_from_its_tenant_only(stub, settings):
    reference = await ObjectStore(settings.object_store_url).put_transient("one", wav())
    request = TranscribeRequest(audio=Media(reference=reference))
    enter(RequestContext(tenant="one"))
    assert (await transcribe(stub, request))[-1].finished.duration_seconds == 7.0
    enter(RequestContext(tenant="two"))
    with pytest.raises(NotFound):
        await transcribe(stub, request)


async def test_a_header_that_claims_ten_hours_is_not_believed(stub):
    lying = bytearray(wav(1.0))
    lying[40:44] = struct.pack("<I", 10 * 3600 * 32_000)
    assert (await transcribe(stub, hear(bytes(lying))))[-1].finished.duration_seconds == 1.0


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (TranscribeRequest(), InvalidArgument, "audio"),
        (hear(b""), InvalidArgument, "audio"),
        (hear(b"The quick brown fox. " * 50), UnsupportedMedia, "audio"),
        (hear(wav(61)), TooLarge, "audio"),
        (hear(wav(), language="klingon"), InvalidArgument, "language"),
        (hear(wav(), model="gpt-9"), NotFound, "model"),
        (hear(wav(), model="fake-synthesizer"), NotFound, "model"),
        (hear(wav(), prompt="x" * 51), TooLarge, "prompt"),
        (hear(wav(), task=9), InvalidArgument, "task"),
        (hear(wav(), temperature=1.5), InvalidArgument, "temperature"),
        (hear(wav(), temperature=float("nan")), InvalidArgument, "temperature"),
        (TranscribeRequest(audio=Media(reference="../../etc/passwd")), InvalidArgument, "audio"),
    ],
)
async def test_the_field_of_an_invalid_recording_is_named(stub, request_, error, field):
    with pytest.raises(error) as raised:
        await transcribe(stub, request_)
    assert raised.value.field.startswith(field)


@pytest.mark.serial
async def test_a_cancelled_call_frees_its_slot_within_a_step(stub, models):
    models["transcribe"].faults.latency_seconds = 0.5
    leaving = stub.Transcribe(hear(wav(60)))  # twelve steps
    async for event in leaving:
        if event.HasField("segment"):
            break
    await leaving.aclose()
    began = time.monotonic()
    await transcribe(stub, hear(wav(1)))
    assert time.monotonic() - began < 2.5  # six more steps would take three


@pytest.mark.serial
async def test_the_deadline_holds_within_a_recording(stub, models):
    models["transcribe"].faults.latency_seconds = 0.2
    await transcribe(stub, hear(wav(1)))
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.5)))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await transcribe(stub, hear(wav(60)))
    assert time.monotonic() - began < 2.0


async def test_hearing_does_not_wait_for_speaking(stub, models):
    models["synthesize"].faults.latency_seconds = 1.0
    speaking = asyncio.ensure_future(synthesize(stub, SynthesizeRequest(text="One. Two.")))
    await transcribe(stub, hear(wav(1)))
    assert not speaking.done()
    await speaking
