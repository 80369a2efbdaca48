"""Piper: VITS voices at 16 or 22 kHz. The library is licensed GPL-3.0-or-later, so it is only in the extra `piper`."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, VoiceRow
from services.speech.synthesis.pace import trimmed


class Piper:
    """The voices of a model folder, which have one sample rate.

    Args:
        library: The module `piper`.
        engines: The voices by name, the default first.
        languages: The languages of the voices as ISO 639-1 codes.
    """

    cloned_languages: tuple[str, ...] = ()
    speeds = (0.5, 2.0)
    max_characters = 200

    def __init__(self, library: Any, engines: Mapping[str, Any], languages: tuple[str, ...]) -> None:
        self._library = library
        self._engines = engines
        self.voices = tuple(VoiceRow(name, languages) for name in engines)
        self.sample_rate = int(next(iter(engines.values())).config.sample_rate)

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        engine = self._engines[speaker.voice]
        scale = (engine.config.length_scale or 1.0) / speed
        for chunk in engine.synthesize(piece, self._library.SynthesisConfig(length_scale=scale)):
            cancellation.raise_if_cancelled()
            yield trimmed(np.asarray(chunk.audio_float_array, np.float32), self.sample_rate)

    def warm(self) -> None:
        for row in self.voices:
            for _ in self.speak("Good morning.", Speaker(row.name, row.languages[0]), 1.0, CancellationToken()):
                pass

    def close(self) -> None:
        """The engines are freed with their last reference."""


def load(spec: ModelSpec, settings: SpeechSettings) -> Piper:
    """Load the voices of the option `voices` of the spec: for each name a file, with a `.json` file beside it.

    Raises:
        FailedPrecondition: The library is not installed.
    """
    try:
        library = importlib.import_module("piper")
    except ImportError as error:
        message = "piper-tts, licensed GPL-3.0-or-later, is not installed: install the extra `piper`"
        raise FailedPrecondition(message) from error
    folder = spec.folder(settings.models_dir)
    engines = {name: library.PiperVoice.load(folder / file) for name, file in spec.options["voices"].items()}
    return Piper(library, engines, tuple(spec.options["languages"]))
