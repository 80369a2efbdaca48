"""The port of what speaks: a piece of text in, its sound out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.rpc.context import CancellationToken
from servekit.scheduling.engines import Model


@dataclass(frozen=True, slots=True)
class VoiceRow:
    """A voice that a model has, and the ISO 639-1 codes of what it speaks, its own first."""

    name: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """Somebody's voice, to be spoken with.

    Attributes:
        recording: A WAV file of it.
        text: What is said in it; empty where nobody knows.
    """

    recording: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks.

    Attributes:
        voice: The name of one of the model's voices; empty where there is a reference.
        language: ISO 639-1 code of what is spoken.
        reference: Whose voice it is, where it is none of the model's.
    """

    voice: str
    language: str
    reference: Reference | None = None


@runtime_checkable
class Synthesizer(Model, Protocol):
    """Speaks."""

    @property
    def sample_rate(self) -> int:
        """Of what it speaks, in Hz."""

    @property
    def voices(self) -> tuple[VoiceRow, ...]:
        """Its own, the default first; none where it only speaks with a reference."""

    @property
    def cloned_languages(self) -> tuple[str, ...]:
        """What it speaks with a reference, as ISO 639-1 codes; nothing where it cannot."""

    @property
    def speeds(self) -> tuple[float, float]:
        """How slow and how fast it can speak by itself; 1 is its own pace. What is beyond is stretched."""

    @property
    def max_characters(self) -> int:
        """Of one piece."""

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        """Speak a piece of at most `max_characters` in letters of the language: arrays of (samples,) in [-1, 1].

        Raises:
            InvalidArgument: It cannot be told how to pronounce it.
            Cancelled, DeadlineExceeded: The cancellation token was set.
        """
