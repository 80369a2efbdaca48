"""The words of a text, with keys for comparison."""

import re
import unicodedata
from dataclasses import dataclass, replace

from servekit.media.scripts import words

_MARKS = re.compile(r"(?<=\d)\.(?=\d)|(?<=\w)'(?=\w)|([\W_])")


@dataclass(frozen=True, slots=True)
class TextWord:
    """One word of a text.

    Attributes:
        text: The word with its punctuation.
        key: The normalized word: see `fold`.
        line: The index of its line, from 0.
    """

    text: str
    key: str
    line: int = 0


def split(text: str) -> list[TextWord]:
    """Split a text into words; separate punctuation is appended to the previous word of its line, if any."""
    found: list[TextWord] = []
    for line, row in enumerate(text.splitlines()):
        for word in words(row):
            if key := fold(word):
                found.append(TextWord(word.lstrip(), key, line))
            elif found and found[-1].line == line:
                found[-1] = replace(found[-1], text=found[-1].text + word)
    return found


def fold(word: str) -> str:
    """Normalize a word: NFKC, lower case, without punctuation except inner apostrophes and decimal points."""
    folded = unicodedata.normalize("NFKC", word).casefold().replace("’", "'")
    return _MARKS.sub(lambda mark: "" if mark[1] else mark[0], folded)
