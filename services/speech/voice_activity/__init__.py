"""The port of what tells speech from silence: short steps of sound in, a probability each out."""

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

STEP = 512  # samples at `LISTENING_RATE`, 32 ms


class Listening(Protocol):
    """One stream of sound, listened to."""

    def hear(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        """How probable it is that somebody speaks: (steps,) of the next (steps, `STEP`) samples in [-1, 1]."""


@runtime_checkable
class SpeechDetector(Protocol):
    """Tells speech from silence. Safe for several threads; each of its streams for one at a time."""

    def listen(self) -> Listening:
        """Begin a stream."""
