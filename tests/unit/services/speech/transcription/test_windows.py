"""Clips cut from a recording as it comes: no longer than is heard at once, at silences, their times kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.transcription import WINDOW_SECONDS
from services.speech.transcription.windows import LONGEST, Clip, WindowCutter
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from services.speech.voice_activity.voice_activity import Sensitivity, Span, VoiceActivity

RATE = 16_000


def cut(samples, piece=RATE, **sensitivity):
    """All clips; checks that only a window or so is held meanwhile."""
    cutter, clips = WindowCutter(VoiceActivity(FakeSpeechDetector(), Sensitivity(**sensitivity))), []
    for begin in range(0, len(samples), piece):
        clips += cutter.feed(samples[begin : begin + piece])
        held = len(cutter._tail) + sum(map(len, cutter._pieces))
        assert held <= 2 * LONGEST + piece + 4 * RATE
    clips += cutter.finish()
    assert cutter.heard == len(samples)
    assert cutter.speech == sum(len(clip.samples) for clip in clips)
    return clips


def recording(*stretches):
    """Loudness and seconds of each stretch."""
    return np.concatenate([np.full(int(seconds * RATE), loud, np.float32) for loud, seconds in stretches])


def test_short_spans_share_a_window():
    samples = recording((0, 3), (0.5, 4), (0, 10), (0.5, 5), (0, 10), (0.5, 25), (0, 5))
    first, second = cut(samples)
    assert [len(span) / RATE for span in first.spans] == pytest.approx([4.8, 5.8], abs=0.1)
    assert [len(span) / RATE for span in second.spans] == pytest.approx([25.8], abs=0.1)
    assert first.spans[0].start / RATE == pytest.approx(2.6, abs=0.1)
    for clip in (first, second):
        joined = np.concatenate([samples[span.start : span.end] for span in clip.spans])
        np.testing.assert_array_equal(clip.samples, joined)


def test_silence_has_no_clips():
    assert cut(recording((0, 100))) == []
    assert cut(np.zeros(0, np.float32)) == []


def test_speech_without_a_silence_is_cut_where_it_is_quietest():
    samples = recording((0.5, 26), (0.01, 0.4), (0.5, 25), (0.02, 0.3), (0.5, 20))
    clips = cut(samples)
    assert all(len(clip.samples) <= LONGEST for clip in clips)
    first, second, third = (clip.spans[0] for clip in clips)
    assert 26 <= first.end / RATE <= 26.4
    assert 51.4 <= second.end / RATE <= 51.7
    assert (first.start, first.end, second.end) == (0, second.start, third.start)
    assert third.end == len(samples)


def test_without_voice_activity_everything_is_heard():
    samples = recording((0, 40), (0.5, 3), (0, 40))
    clips = cut(samples, threshold=0.0)
    assert sum(len(clip.samples) for clip in clips) == len(samples)
    assert all(len(clip.samples) <= LONGEST for clip in clips)


def test_the_end_does_not_wait_for_silence():
    (clip,) = cut(recording((0, 2), (0.5, 1)))
    assert clip.spans == [Span(clip.spans[0].start, 3 * RATE)]


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(0.3, 6), st.floats(0.1, 70)), min_size=1, max_size=4), st.integers(3000, 50_000))
def test_nothing_loud_is_lost_or_heard_twice(stretches, piece):
    samples = recording(*(part for quiet, loud in stretches for part in ((0, quiet), (0.5, loud))))
    clips = cut(samples, piece)
    covered = np.zeros(len(samples), int)
    for clip in clips:
        assert 0 < len(clip.samples) <= WINDOW_SECONDS * RATE
        for span in clip.spans:
            covered[span.start : span.end] += 1
    assert covered.max() == 1
    assert covered[samples != 0].all()


def test_times_are_those_of_the_recording():
    clip = Clip([Span(RATE, 3 * RATE), Span(10 * RATE, 14 * RATE)], np.zeros(6 * RATE, np.float32))
    assert clip.place(0, 1) == (1.0, 2.0)
    assert clip.place(0, 2) == (1.0, 3.0)  # an end on the seam is before it
    assert clip.place(2, 3) == (10.0, 11.0)  # a beginning there after it
    assert clip.place(1, 3) == (2.0, 11.0)  # over the seam
    assert clip.place(5, 99) == (13.0, 14.0)  # not beyond the speech
    assert clip.place_whole(1.8, 2.1) == (2.8, 3.0)  # a word is on one side of the seam
    assert clip.place_whole(1.9, 2.3) == (10.0, 10.3)
