"""The port of what tells speakers apart by itself: a whole recording in, who speaks when out."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel

LISTENING_RATE = 16_000


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


class Diarizer(BatchModel[Talk, Talk, People], Protocol):
    """Tells speakers apart."""

    @property
    def known_voice(self) -> float:
        """The cosine from which the voices of two recordings are of one person."""
