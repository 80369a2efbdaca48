"""Cutting windows of embeddings from a stream: where, how many, and how little of the stream is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.diarization.voice_windows import STEP, VoiceWindows
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from services.speech.voice_activity.voice_activity import VadOptions, VoiceActivity

RATE = 16_000
SIZE = 25_600


def listening():
    return VoiceWindows(VoiceActivity(FakeSpeechDetector(), VadOptions(0.5, 0.3, 0.05)), SIZE)


def sound(*parts):
    """Seconds of speech and silence in turn; samples count up, so that each is known again."""
    speech = np.concatenate([np.full(int(seconds * RATE), number % 2 == 0) for number, seconds in enumerate(parts)])
    return np.where(speech, np.arange(1, len(speech) + 1), 0).astype(np.float32)


def cut(samples, chunk):
    windows = listening()
    pieces = [windows.feed(samples[begin : begin + chunk]) for begin in range(0, len(samples), chunk)]
    return windows, np.concatenate([*pieces, windows.finish()])


@given(parts=st.lists(st.floats(0.05, 3), min_size=1, max_size=7), chunk=st.sampled_from([160, 5000, 16_000, 100_000]))
@settings(deadline=None, max_examples=40)
def test_windows_lie_around_every_step_of_speech_however_the_sound_comes(parts, chunk):
    samples = sound(*parts)
    windows, pieces = cut(samples, chunk)
    assert pieces.shape == (len(windows.centers), SIZE)
    padded = np.pad(samples, (SIZE // 2, SIZE))
    for middle, piece in zip(windows.centers, pieces, strict=True):
        assert (piece == padded[middle : middle + SIZE]).all()
    assert windows.centers == sorted(windows.centers)
    for span in windows.spans:
        inside = [middle for middle in windows.centers if span.start <= middle < span.end]
        assert max(1, len(span) // STEP - 1) <= len(inside) <= max(1, len(span) // STEP + 1)
    inside = sum(any(span.start <= middle < span.end for span in windows.spans) for middle in windows.centers)
    assert inside == len(windows.centers)


@pytest.mark.parametrize("sounding", [True, False])
def test_an_hour_keeps_no_more_than_seconds_of_sound(sounding):
    windows, max_speakers = listening(), 0
    for _ in range(600):
        windows.feed(np.full(RATE, sounding, np.float32))
        max_speakers = max(max_speakers, len(windows._kept))
    assert max_speakers < 4 * RATE
    assert len(windows.centers) == pytest.approx(600 / 0.4 if sounding else 0, abs=3)
