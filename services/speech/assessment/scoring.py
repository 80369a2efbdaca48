"""Pronunciation assessment: compares the words of a text with the recognized words, and computes scores.

docs/how-to/assessment.md describes the formulas.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rapidfuzz.distance import Levenshtein
from whisper_normalizer.english import EnglishTextNormalizer

from servekit.media.scripts import is_unspaced
from services.speech.transcription import RecognizedWord
from services.speech.words import TextWord, fold, split

MIN_FULL_CONFIDENCE = 0.5  # a correct word of at least this confidence counts fully
PAUSE_SECONDS = 0.5  # the minimum duration of a pause
USUAL_WORDS = (100.0, 190.0)  # usual words per minute: Tauroza and Allison, "Speech rates in British English", 1990
USUAL_CHARACTERS = (150.0, 300.0)  # usual characters per minute in Chinese and Japanese
MAX_VARIANT_WORDS = 4  # the maximum number of words in one alternative spelling
WEIGHTS = (0.5, 0.2, 0.3)  # of accuracy, fluency and completeness in the overall score

Verdict = Literal["correct", "substitution", "omission", "insertion"]

_normalize = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True)
class ScoredWord:
    """An expected word, a recognized word, or a pair of them, with a verdict."""

    verdict: Verdict
    expected: TextWord | None
    recognized: RecognizedWord | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A silence between two words, from `start` to `end` seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores, each from 0 to 100."""

    accuracy: float
    fluency: float
    completeness: float
    overall: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """The assessment of a recording of a text.

    Attributes:
        words: The words of the text in order, with inserted words where they were spoken.
        pauses: The silences of more than `PAUSE_SECONDS` between words.
        pace: Words per minute without pauses; characters per minute in languages written without spaces.
        scores: The scores.
    """

    words: tuple[ScoredWord, ...]
    pauses: tuple[Pause, ...]
    pace: float
    scores: Scores


def assess(text: str, recognized: Iterable[RecognizedWord]) -> Assessment:
    """Compare a text with the recognized words, whose times are in seconds."""
    spoken = list(_split(recognized))
    words = tuple(compare(split(text), spoken))
    pauses = tuple(_pauses(spoken))
    speaking = _speaking_seconds(spoken, pauses)
    pace = 60 * len(spoken) / speaking if speaking else 0.0
    accuracy = _accuracy(words)
    completeness = _completeness(words)
    fluency = _fluency(spoken, pauses, pace, USUAL_CHARACTERS if is_unspaced(text) else USUAL_WORDS)
    shares = (accuracy, fluency, completeness)
    overall = 1.0
    for share, weight in zip(shares, WEIGHTS, strict=True):
        overall *= share**weight
    return Assessment(words, pauses, pace, Scores(*(100 * share for share in (*shares, overall))))


def compare(expected: Sequence[TextWord], recognized: Sequence[RecognizedWord]) -> list[ScoredWord]:
    """Pair the words by the minimum edit distance. Other spellings of numbers, contractions and words are equal."""
    scored: list[ScoredWord] = []
    expected, recognized = list(expected), list(recognized)
    done = recognized_done = 0
    keys = [word.key for word in expected], [fold(word.text) for word in recognized]
    for same in Levenshtein.editops(*keys).as_matching_blocks():
        scored += _compare_mismatch(expected[done : same.a], recognized[recognized_done : same.b])
        done, recognized_done = same.a + same.size, same.b + same.size
        scored += _correct(expected[same.a : done], recognized[same.b : recognized_done])
    return scored


def _compare_mismatch(expected: list[TextWord], recognized: list[RecognizedWord]) -> list[ScoredWord]:
    """Assess the words between two matches: spelling variants at either end are correct, other words are errors."""
    for many in range(min(MAX_VARIANT_WORDS, len(expected)), 0, -1):
        for few in range(min(MAX_VARIANT_WORDS, len(recognized)), 0, -1):
            if _are_variants(expected[:many], recognized[:few]):
                return _correct(expected[:many], recognized[:few]) + _compare_mismatch(
                    expected[many:], recognized[few:]
                )
            if _are_variants(expected[-many:], recognized[-few:]):
                return _compare_mismatch(expected[:-many], recognized[:-few]) + _correct(
                    expected[-many:], recognized[-few:]
                )
    pairs = min(len(expected), len(recognized))
    scored = [ScoredWord("substitution", *pair) for pair in zip(expected[:pairs], recognized[:pairs], strict=True)]
    scored += [ScoredWord("omission", word, None) for word in expected[pairs:]]
    scored += [ScoredWord("insertion", None, word) for word in recognized[pairs:]]
    return scored


def _correct(expected: list[TextWord], recognized: list[RecognizedWord]) -> list[ScoredWord]:
    """Pair correct words. With fewer recognized words ("25" for "twenty five"), the last one pairs with the rest."""
    return [
        ScoredWord("correct", word, recognized[min(number, len(recognized) - 1)])
        for number, word in enumerate(expected)
    ]


def _are_variants(expected: list[TextWord], recognized: list[RecognizedWord]) -> bool:
    texts = " ".join(word.text for word in expected), " ".join(word.text for word in recognized)
    normalized = [_normalize(text).replace(" ", "") for text in texts]
    return bool(normalized[0]) and normalized[0] == normalized[1]


def _split(recognized: Iterable[RecognizedWord]) -> Iterable[RecognizedWord]:
    """Split recognized words as `split` does, each Chinese character a word; the parts share the time evenly."""
    for word in recognized:
        pieces = split(word.text)
        step = (word.end - word.start) / max(1, len(pieces))
        for number, piece in enumerate(pieces):
            start = word.start + number * step
            yield RecognizedWord(start, start + step, piece.text, word.probability)


def _accuracy(words: Sequence[ScoredWord]) -> float:
    """The fraction of the recognized words that are correct; a correct word of low confidence counts partially."""
    spoken = [word for word in words if word.verdict != "omission"]
    correct = (
        min(1.0, word.recognized.probability / MIN_FULL_CONFIDENCE)
        for word in spoken
        if word.verdict == "correct" and word.recognized
    )
    return sum(correct) / len(spoken) if spoken else 0.0


def _completeness(words: Sequence[ScoredWord]) -> float:
    """The fraction of the words of the text that were spoken correctly."""
    expected = [word for word in words if word.expected]
    return sum(word.verdict == "correct" for word in expected) / len(expected) if expected else 0.0


def _pauses(spoken: Sequence[RecognizedWord]) -> Iterable[Pause]:
    for before, after in pairwise(spoken):
        if after.start - before.end > PAUSE_SECONDS:
            yield Pause(before.end, after.start)


def _speaking_seconds(spoken: Sequence[RecognizedWord], pauses: Sequence[Pause]) -> float:
    whole = spoken[-1].end - spoken[0].start if spoken else 0.0
    return whole - sum(pause.end - pause.start for pause in pauses)


def _fluency(
    spoken: Sequence[RecognizedWord], pauses: Sequence[Pause], pace: float, usual: tuple[float, float]
) -> float:
    """How close the pace is to the usual range, times the fraction of time outside pauses; 0 to 1."""
    if not spoken or not pace:
        return 0.0
    slowest, fastest = usual
    closeness = min(
        1.0, 2 * pace / slowest - 1, 2 - pace / fastest
    )  # 0 at half of the slowest and at twice the fastest
    paused = sum(pause.end - pause.start - PAUSE_SECONDS for pause in pauses)
    return max(0.0, closeness) * (1 - paused / (spoken[-1].end - spoken[0].start))
