"""A network of a text recogniser as others call it, over the Open Inference Protocol: with bounded memory."""

import math

from servekit.errors import TooLarge
from servekit.models.backend import Arrays, TensorBackend


class PixelLimitedNetwork:
    """A backend that rejects inputs of too many pixels.

    Args:
        backend: The network, whose only input is `[images, channels, height, width]`.
        max_pixels: The maximum number of pixels of all images together.
    """

    def __init__(self, backend: TensorBackend, max_pixels: float) -> None:
        self._backend = backend
        self._max_pixels = int(max_pixels)
        self.inputs = backend.inputs
        self.outputs = backend.outputs

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network; see `TensorBackend`.

        Raises:
            TooLarge: The images have too many pixels.
        """
        for name, array in arrays.items():
            images, _, height, width = array.shape
            if math.prod((images, height, width)) > self._max_pixels:
                problem = f"{name} must have at most {self._max_pixels} pixels, got {images} x {height} x {width}"
                raise TooLarge(problem, field=f"inputs.{name}")
        return self._backend.infer(arrays)

    def close(self) -> None:
        """Free the memory of the network."""
        self._backend.close()
