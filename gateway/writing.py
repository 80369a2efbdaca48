"""How scripts are written: which put spaces between words, and how wide their characters are."""

import re
import unicodedata
from collections.abc import Iterable

# Han, kana and bopomofo with their punctuation, Thai, Lao, Burmese and Khmer stand side by side; Hangul does not.
UNSPACED = (
    "\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_OPENING = "「『（《〈【“‘(\\["
_SIDE_BY_SIDE = re.compile(rf"[{UNSPACED}]")
_TOKEN = re.compile(rf"[{_OPENING}]*[{UNSPACED}](?:[^\w\s{_OPENING}])*|(?:(?![{UNSPACED}])\S)+")


def columns(text: str) -> int:
    """The width of a line: wide characters, such as Chinese ones, count twice (Unicode annex 11)."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def is_spaced(before: str, after: str) -> bool:
    """Whether a space belongs between two texts."""
    return bool(before and after) and not (_SIDE_BY_SIDE.match(before[-1]) or _SIDE_BY_SIDE.match(after[0]))


def join(texts: Iterable[str]) -> str:
    """Words or sentences as one text, with spaces where their script has them."""
    joined: list[str] = []
    last = ""
    for text in map(str.strip, texts):
        if text:
            joined.append(f" {text}" if is_spaced(last, text) else text)
            last = text
    return "".join(joined)


def tokens(text: str) -> list[str]:
    """The pieces between which a text may be broken: its words, or its characters where there are no spaces."""
    return _TOKEN.findall(text)
