"""Spans of speech in a stream: what the reference finds in the whole, told as it comes."""

import importlib.resources
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from faster_whisper.utils import get_assets_path
from faster_whisper.vad import VadOptions as ReferenceVadOptions
from faster_whisper.vad import get_speech_timestamps
from hypothesis import given, settings
from hypothesis import strategies as st

from servekit.media.audio import AudioLimits, decode_audio
from services.speech.voice_activity import STEP
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from services.speech.voice_activity.models.silero import Silero
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

RATE = 16_000


def told(detector, vad_options, samples, sizes):
    """All spans, the samples given in pieces of these sizes, again and again."""
    activity, spans, begin, turn = VoiceActivity(detector, vad_options), [], 0, 0
    while begin < len(samples):
        size = sizes[turn % len(sizes)]
        before = activity.undecided
        new = activity.feed(samples[begin : begin + size])
        assert all(span.start >= before for span in new)
        spans += new
        begin, turn = begin + size, turn + 1
    return spans + activity.finish()


@pytest.fixture(scope="module")
def silero():
    return Silero(Path(get_assets_path()) / "silero_vad_v6.onnx")


@pytest.fixture(scope="module")
def speech():
    """Sentences of several speakers' voices, with pauses of 0.1 to 3 s in between."""
    folder = importlib.resources.files("evaluation") / "canary"
    clips = [decode_audio((folder / f"{name}.opus").read_bytes(), AudioLimits(), "audio")[: 6 * RATE]
             for name in ("austen-1", "garden", "austen-2", "letter", "pump")]  # fmt: skip
    pauses = [np.zeros(int(seconds * RATE), np.float32) for seconds in (1.0, 0.1, 3.0, 0.5, 2.5)]
    return np.concatenate([piece for pair in zip(pauses, clips, strict=True) for piece in pair])


@pytest.mark.parametrize(
    "vad_options",
    [
        VadOptions(),
        VadOptions(min_silence_seconds=0.5, padding_seconds=0.1),
        VadOptions(min_silence_seconds=0.1, padding_seconds=0.4),  # near spans share the silence
        VadOptions(threshold=0.8, min_silence_seconds=0.2, padding_seconds=0.0),
    ],
)
def test_the_spans_are_the_references(silero, speech, vad_options):
    options = ReferenceVadOptions(
        threshold=vad_options.threshold,
        min_silence_duration_ms=int(vad_options.min_silence_seconds * 1000),
        speech_pad_ms=int(vad_options.padding_seconds * 1000),
    )
    expected = [Span(row["start"], row["end"]) for row in get_speech_timestamps(speech.copy(), options)]
    assert len(expected) > 1
    for sizes in ([RATE], [len(speech)], [100, 7000, 511]):
        assert told(silero, vad_options, speech, sizes) == expected


def test_memory_is_carried_from_piece_to_piece(silero, speech):
    steps = speech[: 300 * STEP].reshape(-1, STEP)
    probabilities = silero.stream()
    parts = np.concatenate([probabilities.process(part) for part in np.array_split(steps, 7)])
    np.testing.assert_allclose(parts, silero.stream().process(steps), atol=1e-5)
    assert probabilities.process(steps[:0]).shape == (0,)


def test_streams_do_not_disturb_one_another(silero, speech):
    alone = told(silero, VadOptions(), speech, [RATE])
    first, second = silero.stream(), silero.stream()
    first.process(speech[: 50 * STEP].reshape(-1, STEP))
    np.testing.assert_array_equal(
        second.process(speech[: 5 * STEP].reshape(-1, STEP)),
        silero.stream().process(speech[: 5 * STEP].reshape(-1, STEP)),
    )
    assert told(silero, VadOptions(), speech, [RATE]) == alone


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1),
    st.lists(st.integers(200, 9000), min_size=1),
)
def test_spans_are_in_order_and_hold_all_that_is_loud(stretches, sizes):
    samples = np.concatenate([
        np.concatenate([np.zeros(quiet * STEP, np.float32), np.ones(loud * STEP, np.float32)])
        for quiet, loud in stretches
    ])  # fmt: skip
    spans = told(FakeSpeechDetector(), VadOptions(min_silence_seconds=0.2, padding_seconds=0.3), samples, sizes)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    covered = np.zeros(len(samples), bool)
    for span in spans:
        assert 0 <= span.start < span.end <= len(samples)
        covered[span.start : span.end] = True
    assert covered[samples > 0].all()


def test_the_start_and_the_end_of_current_speech_are_reported():
    activity = VoiceActivity(FakeSpeechDetector(), VadOptions(min_silence_seconds=1.0, padding_seconds=0.1))
    assert activity.feed(np.zeros(RATE, np.float32)) == []
    assert (activity.speaking_since, activity.silent_since) == (None, None)
    activity.feed(np.ones(RATE, np.float32))
    begun = activity.speaking_since
    assert abs(begun - 0.9 * RATE) <= STEP
    activity.feed(np.zeros(RATE // 2, np.float32))
    assert activity.speaking_since == begun
    assert abs(activity.silent_since - 2 * RATE) <= STEP
    (span,) = activity.feed(np.zeros(RATE, np.float32))
    assert span.start == begun
    assert abs(span.end - 2.1 * RATE) <= STEP
    assert activity.speaking_since is None


def test_everything_counts_as_speech_without_a_threshold(silero):
    silence = np.zeros(5 * RATE + 100, np.float32)
    assert told(silero, VadOptions(threshold=0.0), silence, [RATE]) == [Span(0, len(silence))]
    assert told(silero, VadOptions(), silence, [RATE]) == []
    assert VoiceActivity(silero, VadOptions()).finish() == []
