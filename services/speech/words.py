"""The words of a text as they are compared with others."""

import re
import unicodedata
from dataclasses import dataclass, replace

from servekit.media.scripts import words

_MARKS = re.compile(r"(?<=\d)\.(?=\d)|(?<=\w)'(?=\w)|([\W_])")


@dataclass(frozen=True, slots=True)
class TextWord:
    """One word of a text.

    Attributes:
        text: As it stands there, with the punctuation around it.
        key: What is compared: see `fold`.
        line: The line of the text that it stands in, from 0.
    """

    text: str
    key: str
    line: int = 0


def split(text: str) -> list[TextWord]:
    """The words of a text in order; punctuation that stands alone goes with the word before it in its line, if any."""
    found: list[TextWord] = []
    for line, row in enumerate(text.splitlines()):
        for word in words(row):
            if key := fold(word):
                found.append(TextWord(word.lstrip(), key, line))
            elif found and found[-1].line == line:
                found[-1] = replace(found[-1], text=found[-1].text + word)
    return found


def fold(word: str) -> str:
    """A word as it is compared: NFKC, small letters, no marks but inner apostrophes and decimal points."""
    folded = unicodedata.normalize("NFKC", word).casefold().replace("’", "'")
    return _MARKS.sub(lambda mark: "" if mark[1] else mark[0], folded)
