"""The port of forced alignment: a window of audio and its words in, the times of the words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class AlignmentInput:
    """A window and its words.

    Attributes:
        samples: (samples,) in [-1, 1] at `SAMPLE_RATE`, at most `WINDOW_SECONDS` of them.
        words: The words in order; lower-case letters and digits, without punctuation.
        language: The language as an ISO 639-1 code.
    """

    samples: NDArray[np.float32]
    words: tuple[str, ...]
    language: str


@dataclass(frozen=True, slots=True)
class WordTiming:
    """The time of a word, from `start` to `end` seconds of the window, with a confidence from 0 to 1.

    A confidence of 0 means that the word was not found; the times are then undefined.
    """

    start: float
    end: float
    confidence: float


@runtime_checkable
class Aligner(BatchModel[AlignmentInput, Any, Sequence[WordTiming]], Protocol):
    """Aligns words with audio: one timing for each word, in order."""

    def check(self, language: str, words: Sequence[str]) -> None:
        """Reject what the model does not support.

        Raises:
            InvalidArgument: The model does not support the language, or the letters of most words; the field is named.
        """
