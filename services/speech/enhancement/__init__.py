"""The port of what takes noise out of a recording."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.rpc.context import CancellationToken
from servekit.scheduling.engines import Model

RUNTIMES = {
    "deepfilter": "services.speech.enhancement.models.deepfilter:load",
    "spectral-gate": "services.speech.enhancement.models.spectral_gate:load",
    "fake-enhancer": "services.speech.enhancement.models.fake:load",
}

CLEANING_RATE = 48_000


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
