"""The port of what takes noise out of a recording."""

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.rpc.context import CancellationToken
from servekit.scheduling.engines import Model

CLEANING_RATE = 48_000


@runtime_checkable
class Enhancer(Model, Protocol):
    """Takes noise out."""

    def enhance(
        self, chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        """Clean one recording, given and returned in arrays of any length.

        Args:
            chunks: (samples,) in [-1, 1] at `CLEANING_RATE`.
            cancellation token: Looked at at least once a second of sound.

        Yields:
            (samples,) at the same rate. Together they are as long as the recording, and no sample is moved.

        Raises:
            Cancelled, DeadlineExceeded: The cancellation token was set.
        """
