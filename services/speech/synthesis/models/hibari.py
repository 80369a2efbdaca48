"""Hibari: small English voices at 24 kHz, one network for each voice."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
from hibari import Hibari as Engine
from hibari.g2p import G2P
from hibari.voices import VOICES
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import InvalidArgument
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, VoiceRow
from services.speech.synthesis.pace import trimmed

MAX_PHONEMES = 400  # of one run of the network, to bound its memory and time

_LONG_WORD = re.compile(r"\S{40}")  # split, since the time of the library is cubic in the hyphens and points of a word
_BREAK = re.compile(r"(?<=[,;:—])\s+|\s+")


class Hibari:
    """The voices of a model folder. Thread-safe.

    Args:
        engines: The engines by the name of the voice, the default first.
    """

    cloned_languages: tuple[str, ...] = ()
    speeds = (0.5, 2.0)  # at higher speeds, phonemes would have no frames
    max_characters = 200

    def __init__(self, engines: Mapping[str, Engine]) -> None:
        self._engines = engines
        self.voices = tuple(VoiceRow(name, ("en",)) for name in engines)
        self.sample_rate: int = next(iter(engines.values())).sample_rate

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        engine = self._engines[speaker.voice]
        noise = np.random.default_rng(0)  # makes the audio of a text deterministic
        try:
            phonemes = engine.g2p(_LONG_WORD.sub(lambda word: f"{word[0]} ", piece))
        except (LookupError, ValueError) as error:
            raise InvalidArgument(f"text must be pronounceable, got {cut(piece)!r}", field="text") from error
        for portion in _portions(phonemes):
            cancellation.raise_if_cancelled()
            yield trimmed(engine.from_ids(engine.ids(portion), speed, noise), self.sample_rate)

    def warm(self) -> None:
        for voice in self.voices:
            for _ in self.speak("Good morning, Mr. Hibari.", Speaker(voice.name, "en"), 1.0, CancellationToken()):
                pass

    def close(self) -> None:
        """The engines are freed with their last reference."""


def _portions(phonemes: str) -> Iterator[str]:
    """Split phonemes into portions of at most `MAX_PHONEMES`, between words where possible."""
    while len(phonemes) > MAX_PHONEMES:
        breaks = [place.start() for place in _BREAK.finditer(phonemes, 1, MAX_PHONEMES)]
        cut = breaks[-1] if breaks else MAX_PHONEMES
        yield phonemes[:cut]
        phonemes = phonemes[cut:].lstrip()
    yield phonemes


def load(spec: ModelSpec, settings: SpeechSettings) -> Hibari:
    """Load the voices of the option `voices` of the spec: a file in the folder of the model for each name.

    The lexicon and the rules come with the library; voices of one accent share them.
    """
    folder = spec.folder(settings.models_dir)
    engines: dict[str, Engine] = {}
    rules: dict[bool, G2P] = {}
    for name, file in spec.options["voices"].items():
        british = bool(VOICES[name]["british"])
        if british not in rules:
            rules[british] = G2P(british=british)
        engines[name] = Engine(voice=name, model=str(folder / file), threads=1, g2p=rules[british])
    return Hibari(engines)
