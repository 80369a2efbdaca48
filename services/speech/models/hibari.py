"""Hibari: a small English voice at 24 kHz, spoken sentence by sentence."""

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from hibari import Hibari as Engine
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import InvalidArgument
from services.speech.settings import SpeechSettings

# What the network sees at once: bounds the memory and the time of one step.
MAX_CHARACTERS = 200
MAX_PHONEMES = 400

_LATIN_OR_GREEK = re.compile("[\u0000-\u02ff\u0370-\u03ff\u1e00-\u1eff\ufb00-\ufb06]")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_LONG_WORD = re.compile(r"\S{40}")  # the library's time grows with the cube of a word's hyphens and points
_LONG_NUMBER = re.compile(r"\d{16,}")
_CLAUSE_END = re.compile(r"(?<=[,;:—])\s+")


class Hibari:
    """The voice of a model folder; safe to use from several threads at once."""

    voices = ("heart",)

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.sample_rate: int = engine.sample_rate

    def check(self, text: str) -> None:
        letters = [character for character in unicodedata.normalize("NFC", text) if _is_read(character)]
        if not letters:
            raise InvalidArgument("there are no words to speak in the text", field="text")
        for letter in letters:
            if not _LATIN_OR_GREEK.match(letter):
                raise InvalidArgument(f"this voice speaks English and cannot read {letter!r}", field="text")

    def synthesize(self, text: str, voice: str, speed: float, flag: Flag) -> Iterator[NDArray[np.float32]]:  # noqa: ARG002
        noise = np.random.default_rng(0)  # the same text sounds the same every time
        for phonemes in self._phonemes(text):
            flag.check()
            yield self._engine.from_ids(self._engine.ids(phonemes), speed, noise)

    def _phonemes(self, text: str) -> Iterator[str]:
        """Phonemes in portions that the network takes at once."""
        readable = unicodedata.normalize("NFC", text).translate(_SUBSCRIPTS)
        readable = _LONG_NUMBER.sub(lambda number: " ".join(number[0]), readable)
        readable = _LONG_WORD.sub(lambda word: f"{word[0]} ", readable)
        for sentence in Engine.split_sentences(readable):
            for piece in cut(sentence, MAX_CHARACTERS):
                try:
                    phonemes = self._engine.g2p(piece)
                except (LookupError, ValueError) as error:
                    raise InvalidArgument(f"cannot tell how to pronounce {piece[:40]!r}", field="text") from error
                yield from cut(phonemes, MAX_PHONEMES)

    def warm(self) -> None:
        for _ in self.synthesize("Good morning, Mr. Hibari.", "heart", 1.0, Flag()):
            pass

    def close(self) -> None:
        """The engine is freed with its last reference."""


def _is_read(character: str) -> bool:
    return character.isalpha() or character.isdecimal()


def cut(text: str, longest: int) -> Iterator[str]:
    """Portions of at most `longest` characters: cut after a clause, else between words, else anywhere."""
    portion = ""
    for clause in _CLAUSE_END.split(text):
        for word in clause.split() if len(clause) > longest else (clause,):
            for start in range(0, len(word), longest):
                part = word[start : start + longest]
                if portion and len(portion) + 1 + len(part) > longest:
                    yield portion
                    portion = part
                else:
                    portion = f"{portion} {part}" if portion else part
    if portion:
        yield portion


def load(card: ModelCard, settings: SpeechSettings) -> Hibari:
    """Load the voice from the model's folder; its lexicon comes with the library."""
    return Hibari(Engine(model=str(card.folder(settings.models_dir) / "hibari.onnx"), threads=1))
