"""An enhancer without a model: what is faint is noise."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.faults import Faults
from services.speech.settings import SpeechSettings

FAINT = 0.01


class FakeEnhancer:
    """Silences samples below a hundredth; every array is a step."""

    def __init__(self, card: ModelCard) -> None:
        self.faults = Faults(card)

    def enhance(self, chunks: Iterable[NDArray[np.float32]], flag: Flag) -> Iterator[NDArray[np.float32]]:
        for chunk in chunks:
            self.faults.step(flag)
            yield np.where(np.abs(chunk) < FAINT, np.float32(0), chunk)

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""


def load(card: ModelCard, settings: SpeechSettings) -> FakeEnhancer:  # noqa: ARG001
    """The fake of a card."""
    return FakeEnhancer(card)
