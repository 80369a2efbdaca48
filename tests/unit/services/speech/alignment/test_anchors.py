import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.speech.alignment import WordTiming
from services.speech.alignment.anchors import anchored, by_letters, complete, recognized_words
from services.speech.transcription import RecognizedWord

PLACES = [WordTiming(second, second + 1, 0.9) for second in range(5)]


def test_recognized_words_are_split_as_texts_are():
    keys, timings = recognized_words(
        [RecognizedWord(0, 1, "Hello,", 0.9), RecognizedWord(1, 3, "今天", 0.5), RecognizedWord(3, 4, "—", 0.5)]
    )
    assert keys == ["hello", "今", "天"]
    assert timings == [WordTiming(0, 1, 0.9), WordTiming(1, 2, 0.5), WordTiming(2, 3, 0.5)]


def test_recognized_words_have_times_and_interpolated_ones_no_confidence():
    found = anchored(["a", "b", "c", "d"], ["a", "x", "d"], PLACES)
    assert found[0] == PLACES[0]
    assert found[3] == PLACES[2]
    assert [timing for timing in found[1:3] if timing] == [WordTiming(1, 2, 0.0)]
    assert anchored(["a"], [], []) == [None]
    assert anchored([], ["a"], PLACES) == []


def test_letters_find_their_words_however_these_are_cut():
    told = [RecognizedWord(0, 1, "Don't", 0.9), RecognizedWord(1, 2, "stop", 0.8), RecognizedWord(2, 3, "now!", 0.5)]
    timings = by_letters(["don't", "sto", "pnow", "再"], told)
    assert [timing and (timing.start, timing.end) for timing in timings] == [(0, 1), (1, 1.75), (1.75, 3), None]
    assert [timing.confidence for timing in timings[:3]] == pytest.approx([0.9, 0.8, 0.575])
    assert by_letters(["a"], []) == [None]


def test_words_without_a_place_share_the_time_between_their_neighbours():
    timings = complete(
        [None, WordTiming(4, 5, 0.9), None, None, WordTiming(8, 9, 0.8)], ["aa", "b", "c", "ddd", "e"], 10
    )
    assert [(timing.start, timing.end) for timing in timings] == [(0, 4), (4, 5), (5, 5.75), (5.75, 8), (8, 9)]
    assert [timing.confidence for timing in timings] == [0, 0.9, 0, 0, 0.8]
    assert [(timing.start, timing.end) for timing in complete([None, None], ["a", "a"], 4)] == [(0, 2), (2, 4)]


seconds = st.floats(-1, 12)
timing = st.none() | st.builds(WordTiming, seconds, seconds, st.floats(0, 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(timing, st.sampled_from(["a", "bcd", "efghij"])), max_size=20), st.floats(0, 10))
def test_whatever_was_found_times_are_in_order_and_within(rows, length):
    timings = complete([timing for timing, _ in rows], [key for _, key in rows], length)
    assert len(timings) == len(rows)
    now = 0.0
    for timing in timings:
        assert now <= timing.start <= timing.end <= length
        now = timing.end
