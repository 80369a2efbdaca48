"""Anchors: the words of a text that were recognized in its recording, and times of the other words from theirs."""

import re
from collections.abc import Sequence
from itertools import accumulate

from rapidfuzz.distance import Levenshtein

from services.speech.alignment import WordTiming
from services.speech.transcription import RecognizedWord
from services.speech.words import fold, split

_NO_LETTER = re.compile(r"[\W_]")


def recognized_words(words: Sequence[RecognizedWord]) -> tuple[list[str], list[WordTiming]]:
    """The keys and timings of recognized words; a word with several keys shares its time among them."""
    keys: list[str] = []
    timings: list[WordTiming] = []
    for word in words:
        parts = [part.key for part in split(word.text)]
        ends = list(accumulate(map(len, parts)))
        for key, end in zip(parts, ends, strict=True):
            length = (word.end - word.start) / ends[-1]
            start, until = word.start + (end - len(key)) * length, word.start + end * length
            keys.append(key)
            timings.append(WordTiming(start, until, word.probability))
    return keys, timings


def anchored(keys: Sequence[str], recognized: Sequence[str], timings: Sequence[WordTiming]) -> list[WordTiming | None]:
    """The timings of the recognized words that match the words of a text; substitutions have confidence 0.

    The words are paired by the minimum edit distance.
    """
    found: list[WordTiming | None] = [None] * len(keys)
    for step in Levenshtein.opcodes(keys, recognized):
        for word, at in zip(
            range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=step.tag == "equal"
        ):
            timing = timings[at]
            found[word] = timing if step.tag == "equal" else WordTiming(timing.start, timing.end, 0.0)
    return found


def by_letters(keys: Sequence[str], words: Sequence[RecognizedWord]) -> list[WordTiming | None]:
    """The timings of words by the letters of other words; None for those without a common letter."""
    letters: list[str] = []
    timings: list[WordTiming] = []
    for word in words:
        letters_of_word = _NO_LETTER.sub("", fold(word.text))
        length = (word.end - word.start) / max(1, len(letters_of_word))
        for number, letter in enumerate(letters_of_word):
            letters.append(letter)
            timings.append(
                WordTiming(word.start + number * length, word.start + (number + 1) * length, word.probability)
            )
    expected = [_NO_LETTER.sub("", key) for key in keys]
    letter_timings = anchored("".join(expected), letters, timings)
    found: list[WordTiming | None] = []
    for end, key in zip(accumulate(map(len, expected)), expected, strict=True):
        matches = [timing for timing in letter_timings[end - len(key) : end] if timing]
        if matches:
            confidence = sum(timing.confidence for timing in matches) / len(key)
            found.append(WordTiming(matches[0].start, matches[-1].end, confidence))
        else:
            found.append(None)
    return found


def complete(timings: Sequence[WordTiming | None], keys: Sequence[str], seconds: float) -> list[WordTiming]:
    """A timing for every word, in order and within the recording.

    Words without one share the time between their neighbours' by their length, with a confidence of 0.
    """
    whole: list[WordTiming] = []
    now = 0.0
    pending: list[str] = []

    def share(until: float) -> None:
        nonlocal now
        each = (until - now) / max(1, sum(map(len, pending)))
        for key in pending:
            whole.append(WordTiming(now, min(now + each * len(key), until), 0.0))
            now = whole[-1].end
        pending.clear()

    for timing, key in zip(timings, keys, strict=True):
        if timing is None:
            pending.append(key)
            continue
        start = min(max(timing.start, now), seconds)
        share(start)
        end = min(max(timing.end, start), seconds)
        whole.append(WordTiming(start, end, timing.confidence))
        now = end
    share(seconds)
    return whole
