import io

import numpy as np

from services.speech.enhancement import CLEANING_RATE as RATE
from services.speech.enhancement.trimming import EDGE, FADE, joined, kept
from services.speech.voice_activity.voice_activity import Span

SECOND = 16_000


def test_speech_keeps_its_edges_and_its_short_pauses():
    spoken = [Span(1 * SECOND, 2 * SECOND), Span(int(2.5 * SECOND), 3 * SECOND), Span(5 * SECOND, 6 * SECOND)]
    assert kept(spoken, 10 * RATE) == [Span(RATE - EDGE, 3 * RATE + EDGE), Span(5 * RATE - EDGE, 6 * RATE + EDGE)]


def test_nothing_is_kept_beyond_the_recording():
    assert kept([Span(0, 3 * SECOND)], 3 * RATE - 7) == [Span(0, 3 * RATE - 7)]
    assert kept([], 3 * RATE) == []
    assert kept([Span(SECOND, 2 * SECOND)], 10) == []


def test_spans_are_joined_and_faded_only_where_they_were_cut():
    samples = np.ones(4 * RATE, np.float32)
    whole = io.BytesIO(samples.tobytes())
    spans = [Span(0, int(1.5 * RATE)), Span(3 * RATE, 4 * RATE)]
    pieces = list(joined(whole, len(samples), spans))
    assert max(map(len, pieces)) == RATE
    result = np.concatenate(pieces)
    assert len(result) == 2.5 * RATE
    assert result[0] == result[-1] == 1.0
    cut = int(1.5 * RATE)
    assert result[cut - 1] < 0.01
    assert result[cut] < 0.01
    assert (result[FADE : cut - FADE] == 1).all()
    assert np.abs(np.diff(result)).max() < 0.02


def test_a_span_shorter_than_its_fades():
    whole = io.BytesIO(np.ones(RATE, np.float32).tobytes())
    assert [len(piece) for piece in joined(whole, RATE, [Span(5, 15), Span(20, 21)])] == [10, 1]
