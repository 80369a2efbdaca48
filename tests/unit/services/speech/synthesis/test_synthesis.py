"""Speaking over real gRPC, on the fakes."""

import time

import numpy as np
import pytest
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest

from servekit.errors import InvalidArgument, NotFound, TooLarge, Unavailable
from servekit.media.audio import AudioLimits, decode_audio
from services.speech.settings import SpeechSettings
from services.speech.synthesis.sentences import SENTENCE_SECONDS


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, synthesize_slots=1, max_text_characters=2000,
        drain_timeout_seconds=1.0,
    )  # fmt: skip


async def synthesize(stub, text, **more):
    """The opening, the sound's bytes, the closing."""
    first, *chunks, last = [event async for event in stub.Synthesize(SynthesizeRequest(text=text, **more))]
    return first.started, b"".join(event.chunk for event in chunks), last.finished


async def test_speaks_piece_by_piece(stub, models):
    models["synthesize"].faults.latency_seconds = 0.3
    began = time.monotonic()
    arrivals = []
    async for event in stub.Synthesize(SynthesizeRequest(text="One two. Three. Four five six.")):
        arrivals.append((event.WhichOneof("event"), time.monotonic() - began))
    kinds = [kind for kind, _ in arrivals]
    assert kinds == ["started", *["chunk"] * 5, "finished"]  # three sentences, and silence between them
    assert arrivals[-1][1] - arrivals[1][1] > 0.3  # a whole sentence, of the two that were left


async def test_plain_samples_unless_asked_otherwise(stub):
    started, sound, finished = await synthesize(stub, "One two three.")
    assert (started.mime_type, started.sample_rate_hertz) == ("audio/pcm", 24_000)
    assert (started.model, started.voice) == ("fake-synthesizer", "low")
    assert finished.duration_seconds == pytest.approx(0.6)
    assert len(sound) == 2 * 24_000 * 0.6
    assert np.abs(np.frombuffer(sound, "<i2")).max() > 5000


@pytest.mark.parametrize("mime_type", ["audio/wav", "audio/mpeg", "audio/flac", "audio/opus", "audio/aac"])
async def test_every_type_decodes_to_the_same_length(stub, mime_type):
    started, sound, finished = await synthesize(stub, "One two. Three.", mime_type=mime_type)
    assert started.mime_type == mime_type
    assert finished.duration_seconds == pytest.approx(0.6 + SENTENCE_SECONDS, abs=0.01)
    decoded = len(decode_audio(sound, AudioLimits(), "audio")) / 16_000
    assert decoded == pytest.approx(finished.duration_seconds, abs=0.12)


async def test_voice_and_model_are_named_or_the_first(stub):
    plain = await synthesize(stub, "One two.")
    assert plain == await synthesize(stub, "One two.", voice="default", speed=1, language="en")
    assert plain == await synthesize(stub, "One two.", model="tts-1", voice="low")
    assert plain[1] != (await synthesize(stub, "One two.", voice="high"))[1]


@pytest.mark.parametrize("speed", [0.25, 0.5, 2, 4])
async def test_every_speed_is_honoured(stub, speed):
    """The fake speaks at 0.5 to 2 by itself; what is beyond is stretched."""
    finished = (await synthesize(stub, "One two three four five. Six seven eight nine.", speed=speed))[2]
    assert finished.duration_seconds == pytest.approx((9 * 0.2 + SENTENCE_SECONDS) / speed, rel=0.1)


async def test_emoji_are_left_out_and_figures_are_words(stub):
    assert (await synthesize(stub, "One 🎉 two."))[1] == (await synthesize(stub, "One two."))[1]
    assert (await synthesize(stub, "I have 21."))[1] == (await synthesize(stub, "I have twenty-one."))[1]


@pytest.mark.parametrize(
    ("text", "fields", "error", "field"),
    [
        ("", {}, InvalidArgument, "text"),
        ("?!… 😀", {}, InvalidArgument, "text"),
        ("a" * 1_000_000, {}, TooLarge, "text"),
        ("你好", {}, InvalidArgument, "text"),
        ("hi", {"model": "gpt-9"}, NotFound, "model"),
        ("hi", {"voice": "alloy"}, NotFound, "voice"),
        ("hi", {"voice": "../x"}, NotFound, "voice"),
        ("hi", {"language": "fr"}, InvalidArgument, "language"),
        ("hi", {"speed": 5}, InvalidArgument, "speed"),
        ("hi", {"speed": -1}, InvalidArgument, "speed"),
        ("hi", {"speed": float("nan")}, InvalidArgument, "speed"),
        ("hi", {"mime_type": "image/png"}, InvalidArgument, "mime_type"),
    ],
)
async def test_what_cannot_be_said_is_named(stub, text, fields, error, field):
    with pytest.raises(error) as raised:
        await synthesize(stub, text, **fields)
    assert raised.value.field == field


async def test_who_could_read_a_letter_is_named(stub):
    with pytest.raises(InvalidArgument, match=r"does not support '好'; models that support it: .*kokoro-82m"):
        await synthesize(stub, "Hello 好")


async def test_a_failing_engine_says_why_and_the_next_call_is_well(stub, models):
    models["synthesize"].faults.fail = "UNAVAILABLE"
    with pytest.raises(Unavailable):
        await synthesize(stub, "hi")
    models["synthesize"].faults.fail = ""
    assert (await synthesize(stub, "hi"))[1]
