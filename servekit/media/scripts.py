"""Properties of scripts: whether they put spaces between words, and how wide their characters are."""

import re
import unicodedata
from collections.abc import Iterable

# The characters of scripts without spaces, as ranges of a regular expression's character class: Han, kana and bopomofo
# with their punctuation, Thai, Lao, Burmese and Khmer; neither Hangul nor wide Latin letters and digits.
UNSPACED = (
    "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff9f"
    "\U00020000-\U0003ffff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_OPENING = "「『（《〈【“‘(\\["
_SIDE_BY_SIDE = re.compile(f"[{UNSPACED}]")
_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")
_TOKEN = re.compile(rf"[{_OPENING}]*[{UNSPACED}](?:[^\w\s{_OPENING}])*|[^\s{UNSPACED}]+")


def is_unspaced(text: str) -> bool:
    """Whether a text is mostly written without spaces between its words."""
    letters = [character for character in text if character.isalpha()]
    return sum(bool(_SIDE_BY_SIDE.match(letter)) for letter in letters) * 2 > len(letters)


def is_spaced(before: str, after: str) -> bool:
    """Whether a space belongs between two texts."""
    return bool(before and after) and not (_SIDE_BY_SIDE.match(before[-1]) or _SIDE_BY_SIDE.match(after[0]))


def join(texts: Iterable[str]) -> str:
    """Join words or sentences to one text, with spaces where their script has them."""
    joined: list[str] = []
    last = ""
    for text in map(str.strip, texts):
        if text:
            joined.append(f" {text}" if is_spaced(last, text) else text)
            last = text
    return "".join(joined)


def words(text: str) -> list[str]:
    """Split a text at its spaces and, in scripts without spaces, into single characters.

    Each word includes the space before it, so that the words joined are the text without the space at its end.
    """
    return _WORD.findall(text.rstrip())


def tokens(text: str) -> list[str]:
    """Split a text where a line may be broken: as `words`, but without spaces, and punctuation stays with its word."""
    return _TOKEN.findall(text)


def columns(text: str) -> int:
    """The width of a line: wide characters, such as Chinese ones, count twice (Unicode annex 11)."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )
