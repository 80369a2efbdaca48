"""The port of speech synthesis: a chunk of text in, its audio out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.scheduling.engines import Model


@dataclass(frozen=True, slots=True)
class VoiceRow:
    """A voice of a model, and its languages as ISO 639-1 codes, the native one first."""

    name: str
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference recording for voice cloning.

    Attributes:
        recording: The recording as a WAV file.
        text: The transcript of the recording; empty if it is unknown.
    """

    recording: bytes
    text: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """The voice and language of a request.

    Attributes:
        voice: The name of a voice of the model; empty with a reference.
        language: The language of the text as an ISO 639-1 code.
        reference: The recording of a voice to clone; None for a voice of the model.
    """

    voice: str
    language: str
    reference: Reference | None = None


@runtime_checkable
class Synthesizer(Model, Protocol):
    """Synthesizes speech."""

    @property
    def sample_rate(self) -> int:
        """The sample rate of the audio in hertz."""

    @property
    def voices(self) -> tuple[VoiceRow, ...]:
        """The built-in voices, the default first; empty if the model requires a reference."""

    @property
    def cloned_languages(self) -> tuple[str, ...]:
        """The languages of voice cloning as ISO 639-1 codes; empty if the model does not support it."""

    @property
    def speeds(self) -> tuple[float, float]:
        """The minimum and maximum speed of the model, 1 is normal; time stretching extends the range."""

    @property
    def max_characters(self) -> int:
        """The maximum length of one call."""

    def speak(
        self, piece: str, speaker: Speaker, speed: float, cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        """Synthesize at most `max_characters` in letters of the language: chunks of (samples,) in [-1, 1].

        Raises:
            InvalidArgument: The model cannot pronounce the text.
            Cancelled, DeadlineExceeded: The request was cancelled.
        """
