"""The port of text recognition (OCR): what the service asks of a model that reads the text of images."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.media.images import DecodedImage
from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text in an image.

    Attributes:
        text: The text of the line.
        confidence: The confidence of the recognition, 0 to 1.
        corners: The outline, float32 `[4, 2]`, in pixels of the upright image, clockwise from where the text begins.
    """

    text: str
    confidence: float
    corners: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Page:
    """The text of one image.

    Attributes:
        lines: The lines in reading order.
        width: The width of the upright image, in pixels.
        height: The height of the upright image, in pixels.
    """

    lines: tuple[Line, ...]
    width: int
    height: int


@runtime_checkable
class TextRecognizer(BatchModel[bytes, DecodedImage, Page], Protocol):
    """A model that reads the text of images: from the bytes of an image file to its lines."""

    @property
    def networks(self) -> dict[str, TensorBackend]:
        """The model's networks, by name."""
