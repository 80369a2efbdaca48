"""The port of noise suppression."""

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.scheduling.engines import Model

CLEANING_RATE = 48_000


@runtime_checkable
class Enhancer(Model, Protocol):
    """Suppresses the noise of recordings."""

    def enhance(
        self, chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        """Enhance one recording, passed and returned as chunks of any length.

        Args:
            chunks: (samples,) in [-1, 1] at `CLEANING_RATE`.
            cancellation: Checked at least once per second of audio.

        Yields:
            (samples,) at the same rate; as many samples in total as the recording, without delay.

        Raises:
            Cancelled, DeadlineExceeded: The request was cancelled.
        """
