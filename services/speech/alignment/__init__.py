"""The port of what tells when known words are said: a window of sound and its words in, their times out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is said in one window.

    Attributes:
        samples: (samples,) in [-1, 1] at `LISTENING_RATE`, at most `WINDOW_SECONDS` of them.
        words: In their order; small letters and digits, without punctuation.
        language: ISO 639-1.
    """

    samples: NDArray[np.float32]
    words: tuple[str, ...]
    language: str


@dataclass(frozen=True, slots=True)
class Place:
    """From `start` to `end` seconds of the window; how sure it is that the word is said there, 0 to 1.

    A confidence of 0 says that it was not found; its times then mean nothing.
    """

    start: float
    end: float
    confidence: float


@runtime_checkable
class Aligner(BatchModel[Spoken, Any, Sequence[Place]], Protocol):
    """Finds words in sound: one place a word, in their order."""

    def check(self, language: str, words: Sequence[str]) -> None:
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language, or the letters of most words; the field is named.
        """
