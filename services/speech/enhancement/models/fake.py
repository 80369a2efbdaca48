"""An enhancer without a model: what is faint is noise."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from servekit.rpc.context import CancellationToken
from services.speech.settings import SpeechSettings

FAINT = 0.01


class FakeEnhancer:
    """Silences samples below a hundredth; every array is a step."""

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def enhance(
        self, chunks: Iterable[NDArray[np.float32]], cancellation: CancellationToken
    ) -> Iterator[NDArray[np.float32]]:
        for chunk in chunks:
            self.faults.step(cancellation)
            yield np.where(np.abs(chunk) < FAINT, np.float32(0), chunk)

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeEnhancer:  # noqa: ARG001
    """The fake of a spec."""
    return FakeEnhancer(spec)
