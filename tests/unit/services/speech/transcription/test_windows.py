"""A recording is cut at silences while it arrives, into windows of bounded length with their times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.transcription import WINDOW_SECONDS
from services.speech.transcription.windows import MAX_SAMPLES, SpeechWindow, WindowCutter
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

RATE = 16_000


def cut(samples, piece=RATE, **vad_options):
    """All speech_windows; checks that only a window or so is held meanwhile."""
    cutter, speech_windows = WindowCutter(VoiceActivity(FakeSpeechDetector(), VadOptions(**vad_options))), []
    for begin in range(0, len(samples), piece):
        speech_windows += cutter.feed(samples[begin : begin + piece])
        held = len(cutter._tail) + sum(map(len, cutter._pieces))
        assert held <= 2 * MAX_SAMPLES + piece + 4 * RATE
    speech_windows += cutter.finish()
    assert cutter.received == len(samples)
    assert cutter.speech == sum(len(speech_window.samples) for speech_window in speech_windows)
    return speech_windows


def recording(*stretches):
    """Loudness and seconds of each stretch."""
    return np.concatenate([np.full(int(seconds * RATE), loud, np.float32) for loud, seconds in stretches])


def test_short_spans_share_a_window():
    samples = recording((0, 3), (0.5, 4), (0, 10), (0.5, 5), (0, 10), (0.5, 25), (0, 5))
    first, second = cut(samples)
    assert [len(span) / RATE for span in first.spans] == pytest.approx([4.8, 5.8], abs=0.1)
    assert [len(span) / RATE for span in second.spans] == pytest.approx([25.8], abs=0.1)
    assert first.spans[0].start / RATE == pytest.approx(2.6, abs=0.1)
    for speech_window in (first, second):
        joined = np.concatenate([samples[span.start : span.end] for span in speech_window.spans])
        np.testing.assert_array_equal(speech_window.samples, joined)


def test_silence_has_no_clips():
    assert cut(recording((0, 100))) == []
    assert cut(np.zeros(0, np.float32)) == []


def test_speech_without_a_silence_is_cut_where_it_is_quietest():
    samples = recording((0.5, 26), (0.01, 0.4), (0.5, 25), (0.02, 0.3), (0.5, 20))
    speech_windows = cut(samples)
    assert all(len(speech_window.samples) <= MAX_SAMPLES for speech_window in speech_windows)
    first, second, third = (speech_window.spans[0] for speech_window in speech_windows)
    assert 26 <= first.end / RATE <= 26.4
    assert 51.4 <= second.end / RATE <= 51.7
    assert (first.start, first.end, second.end) == (0, second.start, third.start)
    assert third.end == len(samples)


def test_without_voice_activity_detection_every_sample_is_in_a_window():
    samples = recording((0, 40), (0.5, 3), (0, 40))
    speech_windows = cut(samples, threshold=0.0)
    assert sum(len(speech_window.samples) for speech_window in speech_windows) == len(samples)
    assert all(len(speech_window.samples) <= MAX_SAMPLES for speech_window in speech_windows)


def test_the_end_does_not_wait_for_silence():
    (speech_window,) = cut(recording((0, 2), (0.5, 1)))
    assert speech_window.spans == [Span(speech_window.spans[0].start, 3 * RATE)]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(0.3, 6), st.floats(0.1, 70)), min_size=1, max_size=4), st.integers(3000, 50_000))
def test_every_loud_sample_is_in_exactly_one_window(stretches, piece):
    samples = recording(*(part for quiet, loud in stretches for part in ((0, quiet), (0.5, loud))))
    speech_windows = cut(samples, piece)
    covered = np.zeros(len(samples), int)
    for speech_window in speech_windows:
        assert 0 < len(speech_window.samples) <= WINDOW_SECONDS * RATE
        for span in speech_window.spans:
            covered[span.start : span.end] += 1
    assert covered.max() == 1
    assert covered[samples != 0].all()


def test_times_are_those_of_the_recording():
    speech_window = SpeechWindow([Span(RATE, 3 * RATE), Span(10 * RATE, 14 * RATE)], np.zeros(6 * RATE, np.float32))
    assert speech_window.times(0, 1) == (1.0, 2.0)
    assert speech_window.times(0, 2) == (1.0, 3.0)  # an end on the seam is before it
    assert speech_window.times(2, 3) == (10.0, 11.0)  # a beginning there after it
    assert speech_window.times(1, 3) == (2.0, 11.0)  # over the seam
    assert speech_window.times(5, 99) == (13.0, 14.0)  # not beyond the speech
    assert speech_window.word_times(1.8, 2.1) == (2.8, 3.0)  # a word is on one side of the seam
    assert speech_window.word_times(1.9, 2.3) == (10.0, 10.3)
