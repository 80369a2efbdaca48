"""A bound on the pixels that several threads process at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """A budget that threads share. An image of more pixels than the whole budget is processed alone.

    Args:
        pixels: The maximum number of pixels that are processed at the same time.
    """

    def __init__(self, pixels: float) -> None:
        self._pixels = pixels
        self._held = 0
        self._returned = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until the budget has room for the pixels, and hold them within the block."""
        with self._returned:
            self._returned.wait_for(lambda: not self._held or self._held + pixels <= self._pixels)
            self._held += pixels
        try:
            yield
        finally:
            with self._returned:
                self._held -= pixels
                self._returned.notify_all()
