"""The ports of emotion analysis: the emotion of a voice, and the sentiment of a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel


@runtime_checkable
class EmotionRecognizer(BatchModel[NDArray[np.float32], Any, Mapping[str, float]], Protocol):
    """Hears (samples,) in [-1, 1] at 16 kHz; gives the emotions' probabilities, together 1."""


@runtime_checkable
class SentimentClassifier(BatchModel[str, str, float], Protocol):
    """Tells how positive texts are, from -1 to 1; 0 for what says neither."""

    @property
    def languages(self) -> Sequence[str]:
        """What it reads, as ISO 639-1 codes; none stands for all."""
