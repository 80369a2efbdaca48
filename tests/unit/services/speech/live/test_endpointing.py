"""Where utterances begin and end, reported by probabilities alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.live.endpointing import Endpointer, EndpointingOptions
from services.speech.voice_activity import STEP

STEPS = 16_000 / STEP  # a second


def seconds(*parts):
    """Probabilities: (probability, seconds) after one another."""
    return np.concatenate([np.full(round(length * STEPS), level, np.float32) for level, length in parts])


def hear(probabilities, endpointing=EndpointingOptions(), piece=5, endpointer=None):  # noqa: B008
    """The utterances of a stream whose samples say their position."""
    endpointer = endpointer or Endpointer(endpointing)
    samples = np.arange(len(probabilities) * STEP, dtype=np.float32)
    utterances = []
    for begin in range(0, len(probabilities), piece):
        part = slice(begin * STEP, (begin + piece) * STEP)
        arrived = min(begin + piece, len(probabilities)) / STEPS
        utterances += endpointer.process(samples[part], probabilities[begin : begin + piece], arrived)
    return endpointer, utterances


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_phrase_is_speech_until_it_is_silent_for_long_enough(piece):
    endpointer, (one, two) = hear(seconds((0, 1), (0.9, 2), (0, 0.4), (0.9, 1), (0, 1), (0.9, 1)), piece=piece)
    assert (one.number, two.number) == (0, 1)
    assert (one.ended, two.ended) == (True, False)
    assert one.speech_start / 16_000 == pytest.approx(1, abs=0.05)
    assert one.speech_end / 16_000 == pytest.approx(4.4, abs=0.05)  # a shorter pause is a part of it
    assert one.start / 16_000 == pytest.approx(0.7, abs=0.05)
    assert two.speech_start / 16_000 == pytest.approx(5.4, abs=0.1)
    sound = one.sound(0.3)
    assert sound[0] == one.start
    assert len(sound) / 16_000 == pytest.approx(4.0, abs=0.1)
    endpointer.commit()
    assert two.ended
    assert endpointer.speech / 16_000 == pytest.approx(4, abs=0.1)


def test_a_click_is_no_phrase():
    assert hear(seconds((0, 1), (0.9, 0.06), (0, 1), (0.9, 0.06), (0, 1)))[1] == []


def test_speech_goes_on_a_little_below_the_threshold():
    _, (utterance,) = hear(seconds((0.9, 1), (0.4, 2), (0.9, 1)))
    assert not utterance.ended
    assert not utterance.pauses


def test_when_it_was_spoken_is_reckoned_from_the_samples():
    _, (utterance,) = hear(seconds((0.9, 1), (0, 0.32)), piece=10)
    assert utterance.last_speech_at == pytest.approx(1, abs=0.04)  # and not when its piece came, up to 0.3 s later


def test_what_came_at_once_was_spoken_when_it_came():
    endpointer = Endpointer(EndpointingOptions())
    probabilities = seconds((0.9, 2), (0, 3))
    endpointer.process(np.zeros(STEP, np.float32), np.zeros(1, np.float32), 100.0)
    (utterance,) = endpointer.process(np.zeros(len(probabilities) * STEP, np.float32), probabilities, 100.2)
    assert 100.0 <= utterance.last_speech_at <= 100.2


def test_a_phrase_without_pauses_is_cut_where_it_is_least_like_speech():
    _, utterances = hear(seconds((0.9, 27.5), (0.6, 0.04), (0.9, 20)))
    assert len(utterances) == 2
    assert utterances[0].ended
    assert utterances[0].end == utterances[1].start  # nothing is lost, nothing heard twice
    assert utterances[1].start / 16_000 == pytest.approx(27.5, abs=0.05)
    assert len(utterances[0].sound(0.3)) <= 30 * 16_000


def test_a_long_phrase_ends_at_a_short_pause():
    pauses = ((0.9, 5), (0, 0.25))
    _, utterances = hear(seconds(*pauses * 6))
    assert [round(utterance.speech_end / 16_000) for utterance in utterances if utterance.ended] == [10, 21, 31]


def test_silence_of_one_phrase_is_the_padding_of_the_next_and_its_speech_never_is():
    quick = EndpointingOptions(end_silence=0.2, padding=1.0)
    _, (one, two) = hear(seconds((0, 2), (0.9, 1), (0, 0.3), (0.9, 1)), quick)
    assert two.start >= one.speech_end


def test_by_hand_everything_counts_until_it_is_committed():
    by_hand = EndpointingOptions(manual=True)
    endpointer, (one,) = hear(seconds((0, 2)), by_hand)
    assert (one.start, one.speech_end, one.ended) == (0, endpointer.position, False)
    endpointer.commit()
    assert one.ended
    _, (two,) = hear(seconds((0, 1)), endpointer=endpointer)
    assert two.start == one.end


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.45, 0.6, 0.95]), st.floats(0.03, 12)), max_size=12),
    st.integers(1, 50),
    st.booleans(),
)
def test_phrases_lie_in_order_within_the_stream_and_never_exceed_a_window(parts, piece, manual):
    endpointer, utterances = hear(seconds(*parts, (0, 0.03)), EndpointingOptions(manual=manual), piece)
    endpointer.commit()
    before = 0
    for number, utterance in enumerate(utterances):
        assert utterance.ended
        assert utterance.number == number
        assert (
            before
            <= utterance.start
            <= utterance.speech_start
            <= utterance.speech_end
            <= utterance.end
            <= endpointer.position
        )
        assert len(utterance.sound(0.3)) <= 30 * 16_000
        assert utterance.sound(0.3)[0] == utterance.start
        before = utterance.speech_end
