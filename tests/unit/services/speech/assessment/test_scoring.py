import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.speech.assessment.scoring import assess, compare
from services.speech.transcription import RecognizedWord
from services.speech.words import split


def said(text, pace=150.0, start=0.0, probability=0.9):
    """The words of a text, evenly spoken."""
    step = 60 / pace
    return [
        RecognizedWord(start + i * step, start + (i + 1) * step, word, probability)
        for i, word in enumerate(text.split())
    ]


def verdicts(text, heard):
    return [
        (word.verdict, word.expected.text if word.expected else "", word.recognized.text if word.recognized else "")
        for word in compare(split(text), said(heard))
    ]


def test_a_text_that_is_read_correctly_has_perfect_scores():
    found = assess("The cat sat on the mat.", said("the cat sat on the mat"))
    assert {word.verdict for word in found.words} == {"correct"}
    assert vars_of(found) == pytest.approx((100, 100, 100, 100))
    assert found.pace == pytest.approx(150)
    assert found.pauses == ()


def vars_of(found):
    scores = found.scores
    return scores.accuracy, scores.fluency, scores.completeness, scores.overall


def test_words_are_wrong_missing_and_inserted():
    assert verdicts("the cat sat on the mat", "the um cat sat at mat") == [
        ("correct", "the", "the"),
        ("insertion", "", "um"),
        ("correct", "cat", "cat"),
        ("correct", "sat", "sat"),
        ("substitution", "on", "at"),
        ("omission", "the", ""),
        ("correct", "mat", "mat"),
    ]


def test_scores_follow_the_formulas():
    found = assess("the cat sat on the mat", said("the um cat sat at mat"))
    assert found.scores.accuracy == pytest.approx(100 * 4 / 6)
    assert found.scores.completeness == pytest.approx(100 * 4 / 6)
    assert found.scores.overall == pytest.approx(100 * (4 / 6) ** 0.8)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("I have twenty five apples", "I have 25 apples"),
        ("It costs $3 now", "it costs three dollars now"),
        ("It's the colour of honour", "it is the color of honor"),
    ],
)
def test_what_is_only_written_otherwise_is_right(text, heard):
    assert {verdict for verdict, _, _ in verdicts(text, heard)} == {"correct"}


def test_a_number_beside_a_wrong_word_is_still_right():
    found = verdicts("twenty five apples fell", "25 oranges fell")
    assert [verdict for verdict, _, _ in found] == ["correct", "correct", "substitution", "correct"]


def test_silence_has_no_score():
    found = assess("Say something.", [])
    assert vars_of(found) == (0, 0, 0, 0)
    assert [word.verdict for word in found.words] == ["omission", "omission"]


def test_another_text_is_worth_little():
    found = assess("the quick brown fox jumps", said("completely different things were uttered"))
    assert found.scores.accuracy == found.scores.completeness == found.scores.overall == 0


def test_a_mumbled_word_counts_in_part():
    clear, mumbled = (assess("one two", said("one two", probability=p)).scores.accuracy for p in (0.9, 0.25))
    assert (clear, mumbled) == pytest.approx((100, 50))


def test_pauses_and_haste_are_not_fluent():
    text = "one two three four five six"
    halves = said("one two three") + said("four five six", start=5.0)
    broken = assess(text, halves)
    assert [(pause.start, pause.end) for pause in broken.pauses] == [pytest.approx((1.2, 5.0))]
    assert broken.scores.fluency == pytest.approx(100 * (1 - 3.3 / 6.2))
    assert assess(text, said(text, pace=285)).scores.fluency == pytest.approx(50)
    assert assess(text, said(text, pace=400)).scores.fluency == 0
    assert assess(text, said(text, pace=75)).scores.fluency == pytest.approx(50)


def test_chinese_is_counted_by_character():
    found = assess("今天天气很好。", [RecognizedWord(0.0, 1.8, "今天天气很好", 0.9)])
    assert [word.verdict for word in found.words] == ["correct"] * 6
    assert found.pace == pytest.approx(200)
    assert found.scores.fluency == pytest.approx(100)


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.lists(st.sampled_from("abcd")))
def test_every_word_is_judged_once_and_scores_stay_within_bounds(text, heard):
    found = assess(" ".join(text), said(" ".join(heard)))
    assert [word.expected.text for word in found.words if word.expected] == text
    assert len({id(word.recognized) for word in found.words if word.recognized}) == len(heard)
    assert all(0 <= score <= 100 + 1e-9 for score in vars_of(found))
