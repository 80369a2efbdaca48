"""Words are whole, and put where they are heard."""

import numpy as np
import pytest

from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import RecognizedWord
from services.speech.transcription.models.whisper.timing import LEAD_SECONDS, joined, pauses, sharpened


def sound(*stretches, noise=0.0):
    """Tones of some seconds each, silence where the seconds are negative."""
    moments = [np.full(int(abs(seconds) * SAMPLE_RATE), seconds > 0, np.float32) for seconds in stretches]
    loud = np.concatenate(moments)
    tone = 0.3 * np.sin(np.arange(len(loud)) * 0.3) * loud
    return (tone + noise * np.random.default_rng(0).normal(size=len(loud))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_pauses_are_where_it_is_quiet(noise):
    found = pauses(sound(-0.5, 1.0, -0.3, 1.0, -0.05, 1.0, noise=noise))
    assert found == [pytest.approx((0.0, 0.5), abs=0.02), pytest.approx((1.5, 1.8), abs=0.02)]
    assert pauses(np.zeros(10, np.float32)) == []


def test_edges_near_a_pause_lie_at_its_ends_and_the_others_a_little_later():
    samples = sound(-0.3, 2.0, -0.5, 1.0)
    told = [
        RecognizedWord(0.1, 1.0, "one", 0.9),
        RecognizedWord(1.0, 2.2, "two", 0.8),
        RecognizedWord(2.2, 3.7, "three", 0.7),
    ]
    first, second, third = sharpened(told, samples)
    assert (first.start, first.end) == pytest.approx((0.3, 1.0 + LEAD_SECONDS), abs=0.02)
    assert (second.start, second.end) == pytest.approx((1.0 + LEAD_SECONDS, 2.3), abs=0.02)
    assert (third.start, third.end) == pytest.approx((2.8, 3.78), abs=0.02)
    assert [(word.text, word.probability) for word in (first, second, third)] == [
        ("one", 0.9), ("two", 0.8), ("three", 0.7),
    ]  # fmt: skip


def test_a_pause_far_from_any_edge_changes_nothing():
    samples = sound(2.0, -0.3, 2.0)
    (word,) = sharpened([RecognizedWord(0.0, 4.3, "one", 0.9)], samples)
    assert (word.start, word.end) == pytest.approx((0.0, 4.3))  # no later than the end of the sound
    (late,) = sharpened([RecognizedWord(0.2, 3.5, "one", 0.9)], samples)
    assert (late.start, late.end) == pytest.approx((0.2 + LEAD_SECONDS, 3.5 + LEAD_SECONDS))
    assert sharpened([], samples) == []


def spoken(*texts):
    """Words of a second each, the second a little less probable than the first, and so on."""
    return [RecognizedWord(float(n), n + 1.0, text, 0.9 - n / 10) for n, text in enumerate(texts)]


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
