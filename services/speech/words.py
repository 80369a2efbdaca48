"""The words of a text: what stands between its spaces, or a character each where a language writes none."""

import re
import unicodedata
from dataclasses import dataclass

# Han, kana and bopomofo, Thai, Lao, Khmer and Burmese write no spaces between words.
UNSPACED = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3105-\u312f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_WORD = re.compile(rf"{UNSPACED}|(?:(?!{UNSPACED})\S)+")
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
        start = 0
        for match in _WORD.finditer(row):
            if key := fold(match[0]):
                start = match.start()
                found.append(TextWord(match[0], key, line))
            elif found and found[-1].line == line:
                found[-1] = TextWord(row[start : match.end()], found[-1].key, line)
    return found


def fold(word: str) -> str:
    """A word as it is compared: NFKC, small letters, no marks but inner apostrophes and decimal points."""
    folded = unicodedata.normalize("NFKC", word).casefold().replace("’", "'")
    return _MARKS.sub(lambda mark: "" if mark[1] else mark[0], folded)


def is_unspaced(text: str) -> bool:
    """Whether a text is mostly written without spaces between its words."""
    letters = [character for character in text if character.isalpha()]
    return sum(bool(re.match(UNSPACED, letter)) for letter in letters) * 2 > len(letters)
