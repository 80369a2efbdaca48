"""Pixels of any mode to RGB, in little more memory than the decoded image itself takes."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP_PIXELS = 1 << 18  # converted at a time

_UPRIGHT: dict[object, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def turn_upright(pixels: NDArray[np.uint8], orientation: object) -> NDArray[np.uint8]:
    """Turn pixels `[height, width, 3]` as their EXIF orientation says; those of an unknown one stay as they are."""
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def reduce_to_rgb(size: tuple[int, int], rows: Callable[[int, int], Image.Image], factor: int) -> NDArray[np.uint8]:
    """Convert an image to RGB on white, strip by strip, each reduced to the means of squares of `factor` pixels.

    Args:
        size: The width and the height of the image.
        rows: The rows of the image from one to before another, of any mode.
        factor: The factor by which width and height are reduced.

    Raises:
        ValueError: The samples have 32 bits and thus no defined white level.
    """
    width, height = size
    pixels = np.empty((-(-height // factor), -(-width // factor), 3), np.uint8)
    step = max(1, _STRIP_PIXELS // width // factor) * factor
    for top in range(0, height, step):
        strip = _to_rgb(rows(top, min(top + step, height)))
        reduced = strip.reduce(factor) if factor > 1 else strip
        pixels[top // factor : top // factor + reduced.height] = np.asarray(reduced)
    return pixels


def decode_webp(data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Decode a WebP file, of several frames the first, to RGB or RGBA: 4 bytes per pixel, where Pillow takes 16.

    Args:
        data: The bytes of the file.
        size: The width and the height that its header states.

    Raises:
        ValueError: The file is damaged or truncated.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError("damaged WebP") from error
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1::-1] != size:
        raise ValueError("damaged WebP")
    order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    return np.asarray(cv2.cvtColor(pixels, order, dst=pixels), np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("32-bit samples have no defined white level")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
