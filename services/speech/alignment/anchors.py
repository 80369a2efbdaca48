"""Anchors: the words of a text that were heard in its recording, and what their times say of the others."""

import re
from collections.abc import Sequence
from itertools import accumulate

from rapidfuzz.distance import Levenshtein

from services.speech.alignment import WordTiming
from services.speech.transcription import RecognizedWord
from services.speech.words import fold, split

_NO_LETTER = re.compile(r"[\W_]")


def heard_words(words: Sequence[RecognizedWord]) -> tuple[list[str], list[WordTiming]]:
    """What was heard, as a text's words are compared: one that is several shares its time among them."""
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


def anchored(keys: Sequence[str], heard: Sequence[str], timings: Sequence[WordTiming]) -> list[WordTiming | None]:
    """The timings of the recognized words that match the words of a text; substitutions have confidence 0.

    The pairs are those of the fewest changes from one to the other (Levenshtein).
    """
    found: list[WordTiming | None] = [None] * len(keys)
    for step in Levenshtein.opcodes(keys, heard):
        for word, at in zip(
            range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=step.tag == "equal"
        ):
            timing = timings[at]
            found[word] = timing if step.tag == "equal" else WordTiming(timing.start, timing.end, 0.0)
    return found


def by_letters(keys: Sequence[str], words: Sequence[RecognizedWord]) -> list[WordTiming | None]:
    """The timings of words, from the same letters cut into other words: None for those without a common letter."""
    letters: list[str] = []
    timings: list[WordTiming] = []
    for word in words:
        own = _NO_LETTER.sub("", fold(word.text))
        length = (word.end - word.start) / max(1, len(own))
        for number, letter in enumerate(own):
            letters.append(letter)
            timings.append(
                WordTiming(word.start + number * length, word.start + (number + 1) * length, word.probability)
            )
    wanted = [_NO_LETTER.sub("", key) for key in keys]
    said = anchored("".join(wanted), letters, timings)
    found: list[WordTiming | None] = []
    for end, key in zip(accumulate(map(len, wanted)), wanted, strict=True):
        own_places = [timing for timing in said[end - len(key) : end] if timing]
        if own_places:
            confidence = sum(timing.confidence for timing in own_places) / len(key)
            found.append(WordTiming(own_places[0].start, own_places[-1].end, confidence))
        else:
            found.append(None)
    return found


def complete(timings: Sequence[WordTiming | None], keys: Sequence[str], seconds: float) -> list[WordTiming]:
    """A timing for every word, in order and within the recording.

    Words without one share the time between their neighbours' by their length, with a confidence of 0.
    """
    whole: list[WordTiming] = []
    now = 0.0
    waiting: list[str] = []

    def share(until: float) -> None:
        nonlocal now
        each = (until - now) / max(1, sum(map(len, waiting)))
        for key in waiting:
            whole.append(WordTiming(now, min(now + each * len(key), until), 0.0))
            now = whole[-1].end
        waiting.clear()

    for timing, key in zip(timings, keys, strict=True):
        if timing is None:
            waiting.append(key)
            continue
        start = min(max(timing.start, now), seconds)
        share(start)
        end = min(max(timing.end, start), seconds)
        whole.append(WordTiming(start, end, timing.confidence))
        now = end
    share(seconds)
    return whole
