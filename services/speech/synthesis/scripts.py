"""Scripts: which letters a language is written with, and what of a text is spoken at all."""

import re
import unicodedata
from collections.abc import Iterable

LATIN = "\u0041-\u02ff\u1e00-\u1eff\ufb00-\ufb06"
_GREEK = "\u0370-\u03ff"  # formulas have it in any language
_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_CYRILLIC = "\u0400-\u052f"

# Languages that are not written with Latin letters alone.
_OTHERS = {
    "zh": _HAN,
    "ja": _HAN + _KANA,
    "ko": _HAN + _HANGUL,
    "ru": _CYRILLIC,
    "uk": _CYRILLIC,
    "bg": _CYRILLIC,
    "sr": _CYRILLIC,
    "ar": "\u0600-\u06ff\u0750-\u077f",
    "he": "\u0590-\u05ff",
    "hi": "\u0900-\u097f",
    "th": "\u0e00-\u0e7f",
}

_SPACES = re.compile(r"[^\S\n]{2,}")
_WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
_WIDE_PUNCTUATION = {ord(mark) for mark in "！（），：；？"}  # a sentence of Chinese or Japanese keeps its own
_ASCII = {wide: ascii_ for wide, ascii_ in _WIDE.items() if wide not in _WIDE_PUNCTUATION}


def spoken(text: str) -> str:
    """What of a text is spoken: letters composed, wide Latin ones plain; emoji and what has no shape left out."""
    composed = unicodedata.normalize("NFC", text).translate(_ASCII)
    seen = "".join(" " if _is_picture(character) else character for character in composed if _has_shape(character))
    return _SPACES.sub(" ", seen)


def has_words(text: str) -> bool:
    """Whether there is anything to say in it: a letter or a digit."""
    return any(_is_read(character) for character in text)


def unreadable(text: str, language: str) -> str:
    """The first letter or digit of a text that no reader of a language knows; empty where there is none."""
    known = re.compile(f"[0-9{LATIN}{_GREEK}{_OTHERS.get(language, '')}]")
    return next((character for character in text if _is_read(character) and not known.match(character)), "")


def language_of(text: str, languages: Iterable[str]) -> str:
    """The first of some languages whose letters are those of a text; the first of all where none has them all."""
    known = list(languages)
    return next((language for language in known if not unreadable(text, language)), known[0])


def _is_read(character: str) -> bool:
    return character.isalpha() or character.isdecimal()


def _is_picture(character: str) -> bool:
    """Whether it is an emoji or another pictogram."""
    code = ord(character)
    return 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or 0x2B00 <= code <= 0x2BFF


def _has_shape(character: str) -> bool:
    """Whether it is none that only tells how others look: joiners, selectors, tags, controls but space."""
    code = ord(character)
    if code in (0xFE0E, 0xFE0F, 0x20E3) or 0xE0000 <= code <= 0xE0FFF:
        return False
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Cn")
