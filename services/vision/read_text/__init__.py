"""The port of the vision models, and where each loader is."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel

RUNTIMES = {
    "ppocr": "services.vision.read_text.models.ppocr:load",
    "fake": "services.vision.read_text.models.fake:load",
}


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


class TextReader(BatchModel[bytes, NDArray[np.uint8], Page], Protocol):
    """Reads the text of images: from an image file's bytes to its lines."""

    @property
    def networks(self) -> dict[str, TensorBackend]:
        """The networks that it is made of, by name."""
