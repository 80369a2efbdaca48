"""The port of text recognition (OCR): what the service asks of a model that reads the text of images."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text in an image.

    Attributes:
        text: What it says.
        confidence: 0 to 1.
        corners: (4, 2) float32, in pixels of the upright image, clockwise from where the text begins.
    """

    text: str
    confidence: float
    corners: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Page:
    """What an image says.

    Attributes:
        lines: In reading order.
        width: Of the upright image, in pixels.
        height: Of the upright image, in pixels.
    """

    lines: tuple[Line, ...]
    width: int
    height: int


@runtime_checkable
class TextReader(BatchModel[bytes, NDArray[np.uint8], Page], Protocol):
    """Reads the text of images: from an image file's bytes to its lines."""

    @property
    def networks(self) -> dict[str, TensorBackend]:
        """The networks that it is made of, by name."""
