"""Anchors: the words of a text that were heard in its recording, and what their times say of the others."""

import re
from collections.abc import Sequence
from itertools import accumulate

from rapidfuzz.distance import Levenshtein

from services.speech.alignment import Place
from services.speech.transcription import Word
from services.speech.words import fold, split

_NO_LETTER = re.compile(r"[\W_]")


def heard_words(words: Sequence[Word]) -> tuple[list[str], list[Place]]:
    """What was heard, as a text's words are compared: one that is several shares its time among them."""
    keys: list[str] = []
    places: list[Place] = []
    for word in words:
        parts = [part.key for part in split(word.text)]
        ends = list(accumulate(map(len, parts)))
        for key, end in zip(parts, ends, strict=True):
            length = (word.end - word.start) / ends[-1]
            start, until = word.start + (end - len(key)) * length, word.start + end * length
            keys.append(key)
            places.append(Place(start, until, word.probability))
    return keys, places


def anchored(keys: Sequence[str], heard: Sequence[str], places: Sequence[Place]) -> list[Place | None]:
    """The places of the words of a text, where they were heard, or another in their stead; confidence 0 for the latter.

    The pairs are those of the fewest changes from one to the other (Levenshtein).
    """
    found: list[Place | None] = [None] * len(keys)
    for step in Levenshtein.opcodes(keys, heard):
        for word, at in zip(
            range(step.src_start, step.src_end), range(step.dest_start, step.dest_end), strict=step.tag == "equal"
        ):
            place = places[at]
            found[word] = place if step.tag == "equal" else Place(place.start, place.end, 0.0)
    return found


def by_letters(keys: Sequence[str], words: Sequence[Word]) -> list[Place | None]:
    """The places of words, from the same letters cut into other words: None for those without a common letter."""
    letters: list[str] = []
    places: list[Place] = []
    for word in words:
        own = _NO_LETTER.sub("", fold(word.text))
        length = (word.end - word.start) / max(1, len(own))
        for number, letter in enumerate(own):
            letters.append(letter)
            places.append(Place(word.start + number * length, word.start + (number + 1) * length, word.probability))
    wanted = [_NO_LETTER.sub("", key) for key in keys]
    said = anchored("".join(wanted), letters, places)
    found: list[Place | None] = []
    for end, key in zip(accumulate(map(len, wanted)), wanted, strict=True):
        own_places = [place for place in said[end - len(key) : end] if place]
        if own_places:
            confidence = sum(place.confidence for place in own_places) / len(key)
            found.append(Place(own_places[0].start, own_places[-1].end, confidence))
        else:
            found.append(None)
    return found


def complete(places: Sequence[Place | None], keys: Sequence[str], seconds: float) -> list[Place]:
    """A place for every word, in order and within the recording.

    Words without one share the time between their neighbours' by their length, with a confidence of 0.
    """
    whole: list[Place] = []
    now = 0.0
    waiting: list[str] = []

    def share(until: float) -> None:
        nonlocal now
        each = (until - now) / max(1, sum(map(len, waiting)))
        for key in waiting:
            whole.append(Place(now, min(now + each * len(key), until), 0.0))
            now = whole[-1].end
        waiting.clear()

    for place, key in zip(places, keys, strict=True):
        if place is None:
            waiting.append(key)
            continue
        start = min(max(place.start, now), seconds)
        share(start)
        end = min(max(place.end, start), seconds)
        whole.append(Place(start, end, place.confidence))
        now = end
    share(seconds)
    return whole
