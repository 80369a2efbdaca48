"""The ports of speaker diarization: diarizers of whole recordings, and encoders of short windows of speech."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel

LISTENING_RATE = 16_000

Partials = NDArray[np.float32]  # [partials, samples] in [-1, 1] at `LISTENING_RATE`, pieces of equal length
Voices = NDArray[np.float32]  # [partials, dimensions], each of length 1


@dataclass(frozen=True, slots=True)
class Talk:
    """A recording to be told apart.

    Attributes:
        samples: (samples,) in [-1, 1] at `LISTENING_RATE`; they may lie on disk.
        speakers: How many there are; 0 to find out.
        most: How many are looked for where that is to be found out.
    """

    samples: NDArray[np.float32]
    speakers: int
    most: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / LISTENING_RATE


@dataclass(frozen=True, slots=True)
class Turn:
    """Somebody speaks from `start` to `end` seconds: a person, numbered from 0, with a confidence of 0 to 1."""

    start: float
    end: float
    person: int
    confidence: float


@dataclass(frozen=True, slots=True)
class People:
    """Who speaks when.

    Attributes:
        turns: By their beginnings; they may overlap.
        voices: float32 `[people, dimensions]`, of length 1: each person's voice.
    """

    turns: tuple[Turn, ...]
    voices: NDArray[np.float32]


@runtime_checkable
class Diarizer(BatchModel[Talk, Talk, People], Protocol):
    """Tells speakers apart."""

    @property
    def known_voice(self) -> float:
        """The cosine from which the voices of two recordings are of one person."""


@runtime_checkable
class SpeakerEncoder(BatchModel[Partials, Any, Voices], Protocol):
    """Tells voices apart. Partials of different callers run together; it may run on several threads at once."""

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""

    @property
    def partial_samples(self) -> int:
        """Samples of a partial: how much speech it wants to hear at once."""

    @property
    def same_voice(self) -> float:
        """The cosine from which the mean vectors of two parts of a recording are of one person."""

    @property
    def known_voice(self) -> float:
        """The same of two recordings, which may be of other days and microphones."""

    @property
    def networks(self) -> Mapping[str, TensorBackend]:
        """The network alone, under an empty name."""
