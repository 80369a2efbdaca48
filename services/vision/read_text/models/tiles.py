"""Scales and cuts an image of any shape for a text detector whose input has at most 2,000 pixels per side."""

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from servekit.errors import TooLarge

MAX_SIDE = 2000  # of what the detector sees, in pixels; a longer image is scaled down to it
MIN_SIDE = 30  # a shorter image is enlarged, so that the outlines of its text are exact
MIN_TEXT_SIDE = 4  # no text can be read in fewer pixels
MAX_TILES = 16
_LONG = 4  # an image of this ratio of length to width or more, longer than twice `MAX_SIDE`, is cut into tiles
_QUIET_SHARE = 4  # a tile is cut within the last quarter of its length, where the image has the least contrast


def scale(width: int, height: int, max_pixels: float, field: str) -> float:
    """The factor by which an image is scaled before text is detected in it.

    Args:
        width: The width of the image in pixels.
        height: Its height in pixels.
        max_pixels: The most pixels of a scaled image, or of a tile of it; at least `MAX_SIDE` squared, halved.
        field: The request field of the image.

    Raises:
        TooLarge: The image is so long that it takes more than `MAX_TILES` tiles.
    """
    short, long = sorted((width, height))
    if not _is_long(short, long):
        fitting = min(MAX_SIDE / long, math.sqrt(max_pixels / (width * height)))
        return fitting if fitting < 1 else max(1.0, min(MIN_SIDE / short, fitting))
    factor = min(1.0, MAX_SIDE / 2 / short)
    most = int(MAX_TILES * MAX_SIDE * (1 - 1 / _QUIET_SHARE) / factor)
    if long > most and short >= MIN_TEXT_SIDE:
        problem = f"the longer side of an image of {width} x {height} pixels must be at most {most} pixels"
        raise TooLarge(problem, field=field)
    return factor


def tiles(image: NDArray[np.uint8]) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Cut a scaled image into tiles of at most `MAX_SIDE` pixels, between its lines or words.

    Yields:
        The left and the top edge of a tile, in pixels, and the tile.
    """
    height, width = image.shape[:2]
    if height >= width:
        for begin, end in _cuts(image):
            yield 0, begin, image[begin:end]
    else:
        for begin, end in _cuts(image.swapaxes(0, 1)):
            yield begin, 0, image[:, begin:end]


def _is_long(short: int, long: int) -> bool:
    return long > 2 * MAX_SIDE and long > _LONG * short


def _cuts(image: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """The tiles along the first axis, each from one row to before another."""
    begin = 0
    while len(image) - begin > MAX_SIDE:
        first = begin + MAX_SIDE - MAX_SIDE // _QUIET_SHARE
        rows = image[first : begin + MAX_SIDE].reshape(MAX_SIDE // _QUIET_SHARE, -1)
        contrast = rows.max(axis=1).astype(np.int16) - rows.min(axis=1)
        quiet = np.flatnonzero(contrast == contrast.min())
        end = first + int(quiet[len(quiet) // 2])
        yield begin, end
        begin = end
    yield begin, len(image)


def resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Scale an image, without aliasing; no side is less than a pixel."""
    if factor == 1.0:
        return image
    size = [max(1, round(side * factor)) for side in (image.shape[1], image.shape[0])]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
