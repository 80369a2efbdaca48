"""The scripts of languages, and the characters of a text that are spoken."""

import re
import unicodedata
from collections.abc import Iterable

LATIN = "\u0041-\u02ff\u1e00-\u1eff\ufb00-\ufb06"
_GREEK = "\u0370-\u03ff"  # used in formulas in any language
_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_CYRILLIC = "\u0400-\u052f"

# The scripts of languages that are not written only in Latin script.
_SCRIPTS = {
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
_WIDE_PUNCTUATION = {
    ord(mark) for mark in "！（），：；？"
}  # kept, since they belong to Chinese and Japanese sentences
_ASCII = {wide: ascii_ for wide, ascii_ in _WIDE.items() if wide not in _WIDE_PUNCTUATION}


def spoken(text: str) -> str:
    """Normalize a text to NFC and ASCII width, and remove emoji and invisible characters."""
    composed = unicodedata.normalize("NFC", text).translate(_ASCII)
    visible = "".join(" " if _is_picture(character) else character for character in composed if _is_visible(character))
    return _SPACES.sub(" ", visible)


def has_words(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(_is_read(character) for character in text)


def unreadable(text: str, language: str) -> str:
    """The first letter or digit of a text that is not in the scripts of a language; empty if there is none."""
    known = re.compile(f"[0-9{LATIN}{_GREEK}{_SCRIPTS.get(language, '')}]")
    return next((character for character in text if _is_read(character) and not known.match(character)), "")


def language_of(text: str, languages: Iterable[str]) -> str:
    """The first of the languages that has all letters of a text; the first language if none has."""
    known = list(languages)
    return next((language for language in known if not unreadable(text, language)), known[0])


def _is_read(character: str) -> bool:
    return character.isalpha() or character.isdecimal()


def _is_picture(character: str) -> bool:
    """Whether a character is an emoji or another pictogram."""
    code = ord(character)
    return 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or 0x2B00 <= code <= 0x2BFF


def _is_visible(character: str) -> bool:
    """Whether a character is visible or space; joiners, variation selectors, tags and controls are not."""
    code = ord(character)
    if code in (0xFE0E, 0xFE0F, 0x20E3) or 0xE0000 <= code <= 0xE0FFF:
        return False
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Co", "Cs", "Cn")
