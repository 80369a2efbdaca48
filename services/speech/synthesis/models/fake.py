"""A fake synthesizer: tones that are derived from the words, with configurable faults."""

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Speaker, VoiceRow

WORD_SECONDS = 0.2


class FakeSynthesizer:
    """Returns a tone of 0.2 s for each word, with a pitch by the hash of the word; two voices, an octave apart.

    With a reference, the tone is two octaves higher, shifted by the hash of the recording.
    """

    sample_rate = 24_000
    voices = (VoiceRow("low", ("en",)), VoiceRow("high", ("en",)))
    speeds = (0.5, 2.0)
    max_characters = 200

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)
        self.cloned_languages = ("en", "zh") if spec.options.get("clones") else ()

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        self.faults.step(cancellation)
        octave = 2.0 if speaker.voice == "high" else 1.0
        if speaker.reference is not None:
            octave = 4.0 + zlib.crc32(speaker.reference.recording) % 100 / 100
        seconds = np.arange(int(self.sample_rate * WORD_SECONDS / speed), dtype=np.float32) / self.sample_rate
        pitches = [octave * (110 + zlib.crc32(word.encode()) % 110) for word in piece.split()]
        yield np.concatenate([0.3 * np.sin(2 * np.pi * pitch * seconds, dtype=np.float32) for pitch in pitches])

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeSynthesizer:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeSynthesizer(spec)
