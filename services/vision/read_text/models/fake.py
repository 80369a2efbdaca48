"""A fake text recogniser: the text depends only on the pixels."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import ServeError
from servekit.media.images import DecodedImage, ImageLimits, decode_reduced
from servekit.models.backend import TensorBackend, TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.vision.read_text import Line, Page
from services.vision.settings import VisionSettings

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "haven")


class FakeTextRecognizer:
    """A `TextRecognizer` that finds two lines in every image that has more than one colour.

    Args:
        model_spec: The model's spec, whose options are its faults; an image is a step.
        limits: The limits of an image.
    """

    def __init__(self, model_spec: ModelSpec, limits: ImageLimits) -> None:
        self.faults = Faults(model_spec)
        self._limits = limits
        spec = TensorSpec("x", np.dtype(np.float32), (-1, 3, -1, -1))
        out = TensorSpec("y", np.dtype(np.float32), (-1, 8))
        self.networks: dict[str, TensorBackend] = {"det": FakeBackend([spec], [out])}

    def warm(self) -> None:
        """There is nothing to warm up."""

    def close(self) -> None:
        """There is nothing to free."""

    def prepare(self, request: bytes) -> DecodedImage:
        return decode_reduced(request, self._limits, "image", lambda width, height: 1)  # noqa: ARG005

    def run(self, items: Sequence[DecodedImage], cancellation: CancellationToken) -> Sequence[Page | ServeError]:
        return [self._read(image.pixels, cancellation) for image in items]

    def _read(self, image: NDArray[np.uint8], cancellation: CancellationToken) -> Page:
        self.faults.step(cancellation)
        height, width = image.shape[:2]
        if image.min() == image.max():
            return Page((), width, height)
        digest = zlib.crc32(image.tobytes())
        texts = [f"{WORDS[digest >> shift & 7]} {digest >> shift & 255}" for shift in (0, 8)]
        half = height / 2
        corners = [np.array([(0, y), (width, y), (width, y + half), (0, y + half)], np.float32) for y in (0, half)]
        return Page(tuple(Line(text, 0.9, box) for text, box in zip(texts, corners, strict=True)), width, height)


def load(model_spec: ModelSpec, settings: VisionSettings) -> FakeTextRecognizer:
    """Load the fake of a spec."""
    return FakeTextRecognizer(model_spec, settings.image_limits)
