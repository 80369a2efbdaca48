"""The port of what hears emotions: a stretch of a voice in, the probability of each emotion out."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel


class EmotionRecognizer(BatchModel[NDArray[np.float32], Any, Mapping[str, float]], Protocol):
    """Hears (samples,) in [-1, 1] at 16 kHz; gives the emotions' probabilities, together 1."""
