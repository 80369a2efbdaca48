"""The port of what knows voices: short pieces of speech in, vectors out that are close where the voice is the same."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel

LISTENING_RATE = 16_000

Partials = NDArray[np.float32]  # [partials, samples] in [-1, 1] at `LISTENING_RATE`, pieces of equal length
Voices = NDArray[np.float32]  # [partials, dimensions], each of length 1


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
    def backend(self) -> TensorBackend:
        """The network alone."""
