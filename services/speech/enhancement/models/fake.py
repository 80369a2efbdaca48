"""A fake enhancer: quiet samples are noise."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.settings import SpeechSettings

NOISE_AMPLITUDE = 0.01


class FakeEnhancer:
    """Sets samples below `NOISE_AMPLITUDE` to zero; every chunk is a step for the faults."""

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def enhance(
        self, chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        for chunk in chunks:
            self.faults.step(cancellation)
            yield np.where(np.abs(chunk) < NOISE_AMPLITUDE, np.float32(0), chunk)

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeEnhancer:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeEnhancer(spec)
