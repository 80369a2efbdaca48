"""Words are put where they are heard."""

import numpy as np
import pytest

from services.speech.models.whisper_timing import joined, placed
from services.speech.ports.transcriber import Word


def test_words_begin_and_end_with_their_sound():
    mel = np.full((80, 300), -1.0, np.float32)
    mel[20, 100:150] = mel[40, 150:200] = 1.0  # a second of sound after one of silence
    first, second, silent = placed(
        [Word(0.1, 1.44, "one", 0.9), Word(1.44, 2.5, "two", 0.8), Word(2.5, 3.0, "", 0.1)], mel
    )
    assert (first.start, first.end) == pytest.approx((1.0, 1.5))
    assert (second.start, second.end) == pytest.approx((1.5, 2.0))
    assert (silent.start, silent.end) == pytest.approx(
        (2.56, 3.0)
    )  # nothing is heard: only later, and no later than all
    assert (first.text, second.probability) == ("one", 0.8)


def test_what_is_too_short_to_be_a_word_moves_nothing():
    mel = np.full((80, 300), -1.0, np.float32)
    mel[:, 200:260] = 1.0
    mel[:, 50] = 1.0
    (word,) = placed([Word(0.2, 0.8, "click", 0.5)], mel)
    assert (word.start, word.end) == pytest.approx((0.26, 0.86))


def spoken(*texts):
    """Words of a second each, the second a little less probable than the first, and so on."""
    return [Word(float(n), n + 1.0, text, 0.9 - n / 10) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([" It", " is", " 9", ".45", " now."], ["It", "is", "9.45", "now."]),
        ([" rather", " cold", "-hearted"], ["rather", "cold-hearted"]),
        ([" C", "'est", " l", "'heure"], ["C'est", "l'heure"]),
        (["So", " a", " -", " b"], ["So", "a", "-", "b"]),
        (["今日", "は", "3", "月。"], ["今日", "は", "3", "月。"]),
        (["สวัส", "ดี"], ["สวัส", "ดี"]),
        ([" 오늘은", " 맑", "아요."], ["오늘은", "맑아요."]),
        ([], []),
    ],
)
def test_what_follows_without_a_space_belongs_to_the_word_before(found, words):
    assert [word.text for word in joined(spoken(*found))] == words


def test_a_joined_word_lasts_from_its_first_part_to_its_last_and_is_as_probable_as_the_least():
    _, price = joined(spoken(" for", " 9", ".", "45"))
    assert (price.start, price.end, price.probability) == (1.0, 4.0, pytest.approx(0.6))
