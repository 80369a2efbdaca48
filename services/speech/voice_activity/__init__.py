"""The port of voice activity detection: steps of audio in, a speech probability for each out."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

STEP = 512  # samples at `SAMPLE_RATE`, 32 ms


class SpeechProbabilities(Protocol):
    """The speech probabilities of one stream of audio."""

    def process(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """The speech probability, (steps,), of the next (steps, `STEP`) samples in [-1, 1]."""


@runtime_checkable
class SpeechDetector(Protocol):
    """Detects speech. It may be used by several threads; each stream by one at a time."""

    def stream(self) -> SpeechProbabilities:
        """Start a stream."""
