"""The ports of emotion analysis: the emotion of a voice, and the sentiment of a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel


@runtime_checkable
class EmotionRecognizer(BatchModel[NDArray[np.float32], Any, Mapping[str, float]], Protocol):
    """Classifies (samples,) in [-1, 1] at `SAMPLE_RATE`; returns probabilities of emotions that add up to 1."""


@runtime_checkable
class SentimentClassifier(BatchModel[str, str, float], Protocol):
    """Scores the sentiment of texts, from -1, negative, to 1, positive; 0 is neutral."""

    @property
    def languages(self) -> Sequence[str]:
        """The supported languages as ISO 639-1 codes; empty for all."""
