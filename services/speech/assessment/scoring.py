"""How well a text was said: its words beside those that were heard, and the scores that follow.

docs/how-to/assessment.md says the formulas in words.
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

SURE = 0.5  # the confidence from which a right word counts whole
PAUSE_SECONDS = 0.5  # a shorter silence is no pause
SPOKEN_WORDS = (100.0, 190.0)  # a minute: Tauroza and Allison, "Speech rates in British English", 1990
SPOKEN_CHARACTERS = (150.0, 300.0)  # the same of Chinese and Japanese, which are counted by character
WRITTEN_OTHERWISE = 4  # words at most that are written as others
WEIGHTS = (0.5, 0.2, 0.3)  # of accuracy, fluency and completeness in the whole

Verdict = Literal["correct", "substitution", "omission", "insertion"]

_spelt_out = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a word of the text, or a word beside it; one of `expected` and `heard` may be missing."""

    verdict: Verdict
    expected: TextWord | None
    heard: RecognizedWord | None


@dataclass(frozen=True, slots=True)
class Pause:
    """A silence between two words, from `start` to `end` seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Each 0 to 100."""

    accuracy: float
    fluency: float
    completeness: float
    overall: float


@dataclass(frozen=True, slots=True)
class Assessment:
    """How well a text was said.

    Attributes:
        words: The text's words in order, inserted ones where they were said.
        pauses: Silences of more than `PAUSE_SECONDS` between words.
        pace: Words, or characters where a language writes no spaces, a minute; pauses do not count.
        scores: What follows from these.
    """

    words: tuple[Judged, ...]
    pauses: tuple[Pause, ...]
    pace: float
    scores: Scores


def assess(text: str, heard: Iterable[RecognizedWord]) -> Assessment:
    """Compare a text with the words that were heard, whose times are in seconds."""
    said = list(_one_by_one(heard))
    words = tuple(judge(split(text), said))
    pauses = tuple(_pauses(said))
    speaking = _speaking_seconds(said, pauses)
    pace = 60 * len(said) / speaking if speaking else 0.0
    accuracy = _accuracy(words)
    completeness = _completeness(words)
    fluency = _fluency(said, pauses, pace, SPOKEN_CHARACTERS if is_unspaced(text) else SPOKEN_WORDS)
    shares = (accuracy, fluency, completeness)
    overall = 1.0
    for share, weight in zip(shares, WEIGHTS, strict=True):
        overall *= share**weight
    return Assessment(words, pauses, pace, Scores(*(100 * share for share in (*shares, overall))))


def judge(expected: Sequence[TextWord], heard: Sequence[RecognizedWord]) -> list[Judged]:
    """Pair the words by the least edits. Numbers, contractions and British spellings count as what they stand for."""
    judged: list[Judged] = []
    wanted, had = list(expected), list(heard)
    done = had_done = 0
    keys = [word.key for word in wanted], [fold(word.text) for word in had]
    for same in Levenshtein.editops(*keys).as_matching_blocks():
        judged += _differing(wanted[done : same.a], had[had_done : same.b])
        done, had_done = same.a + same.size, same.b + same.size
        judged += _right(wanted[same.a : done], had[same.b : had_done])
    return judged


def _differing(wanted: list[TextWord], had: list[RecognizedWord]) -> list[Judged]:
    """Between two words that are the same: written otherwise at its ends, perhaps, and else wrong."""
    for many in range(min(WRITTEN_OTHERWISE, len(wanted)), 0, -1):
        for few in range(min(WRITTEN_OTHERWISE, len(had)), 0, -1):
            if _mean_the_same(wanted[:many], had[:few]):
                return _right(wanted[:many], had[:few]) + _differing(wanted[many:], had[few:])
            if _mean_the_same(wanted[-many:], had[-few:]):
                return _differing(wanted[:-many], had[:-few]) + _right(wanted[-many:], had[-few:])
    pairs = min(len(wanted), len(had))
    judged = [Judged("substitution", *pair) for pair in zip(wanted[:pairs], had[:pairs], strict=True)]
    judged += [Judged("omission", word, None) for word in wanted[pairs:]]
    judged += [Judged("insertion", None, word) for word in had[pairs:]]
    return judged


def _right(wanted: list[TextWord], had: list[RecognizedWord]) -> list[Judged]:
    """Where fewer were heard than stand there, as "25" for "twenty five", the last one stands for the rest."""
    return [Judged("correct", word, had[min(number, len(had) - 1)]) for number, word in enumerate(wanted)]


def _mean_the_same(wanted: list[TextWord], had: list[RecognizedWord]) -> bool:
    texts = " ".join(word.text for word in wanted), " ".join(word.text for word in had)
    spelt = [_spelt_out(text).replace(" ", "") for text in texts]
    return bool(spelt[0]) and spelt[0] == spelt[1]


def _one_by_one(heard: Iterable[RecognizedWord]) -> Iterable[RecognizedWord]:
    """The words as `split` would have them: a run of Chinese characters is one each, its time shared evenly."""
    for word in heard:
        pieces = split(word.text)
        step = (word.end - word.start) / max(1, len(pieces))
        for number, piece in enumerate(pieces):
            start = word.start + number * step
            yield RecognizedWord(start, start + step, piece.text, word.probability)


def _accuracy(words: Sequence[Judged]) -> float:
    """The share of what was said that is right; a right word of little confidence counts in part."""
    said = [word for word in words if word.verdict != "omission"]
    right = (min(1.0, word.heard.probability / SURE) for word in said if word.verdict == "correct" and word.heard)
    return sum(right) / len(said) if said else 0.0


def _completeness(words: Sequence[Judged]) -> float:
    """The share of the text that was said right."""
    wanted = [word for word in words if word.expected]
    return sum(word.verdict == "correct" for word in wanted) / len(wanted) if wanted else 0.0


def _pauses(said: Sequence[RecognizedWord]) -> Iterable[Pause]:
    for before, after in pairwise(said):
        if after.start - before.end > PAUSE_SECONDS:
            yield Pause(before.end, after.start)


def _speaking_seconds(said: Sequence[RecognizedWord], pauses: Sequence[Pause]) -> float:
    whole = said[-1].end - said[0].start if said else 0.0
    return whole - sum(pause.end - pause.start for pause in pauses)


def _fluency(said: Sequence[RecognizedWord], pauses: Sequence[Pause], pace: float, usual: tuple[float, float]) -> float:
    """How near the pace is to the usual one, less the share of time that passes in pauses."""
    if not said or not pace:
        return 0.0
    slowest, quickest = usual
    even = min(1.0, 2 * pace / slowest - 1, 2 - pace / quickest)  # 0 at half of the slowest and twice the quickest
    paused = sum(pause.end - pause.start - PAUSE_SECONDS for pause in pauses)
    return max(0.0, even) * (1 - paused / (said[-1].end - said[0].start))
