"""Image decoding: the bytes of a file to an upright RGB array, within bounds."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia
from servekit.media.pixels import decode_webp, reduce_to_rgb, turn_upright

# The decoder of a file is chosen by its first bytes, so that no other format is parsed, and without Pillow's own
# process-wide bound on pixels, which warns before it raises.
_READERS: tuple[tuple[bytes, Callable[[BytesIO], ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF8", GifImageFile),
    (b"II*\x00", TiffImageFile),
    (b"MM\x00*", TiffImageFile),
    (b"BM", BmpImageFile),
)

# Each scan of a progressive JPEG takes a pass over the whole image; encoders write about ten.
_MAX_JPEG_SCANS = 100
_START_OF_SCAN = b"\xff\xda"
_JPEG_FACTORS = (8, 4, 2)  # by which the JPEG decoder itself can reduce an image

# libtiff continues past damage in these: it fills the rows with grey and prints a line to stderr for each.
_FAX_COMPRESSIONS = {"tiff_ccitt", "group3", "group4", "tiff_raw_16"}
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_ORIENTATION = 0x0112

# What Pillow's parsers raise for damaged files; warnings among them, where a process turns them into errors.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error, Warning)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image that is decoded.

    Attributes:
        max_bytes: The most bytes of the file.
        max_pixels: The most pixels, width times height; decoding takes about 4 bytes per pixel, and 7 where the image
            is not reduced.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An upright image, possibly reduced.

    Attributes:
        pixels: RGB, uint8 `[height, width, 3]`, writable and contiguous; the sizes are those after the reduction.
        width: The width in the file, upright, in pixels.
        height: The height in the file, upright, in pixels.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int


def decode_image(data: bytes, limits: ImageLimits, field: str) -> NDArray[np.uint8]:
    """Decode an image at its full size: the pixels of `decode_reduced` with a factor of 1."""
    return decode_reduced(data, limits, field, lambda width, height: 1).pixels  # noqa: ARG005


def decode_reduced(data: bytes, limits: ImageLimits, field: str, factor: Callable[[int, int], int]) -> DecodedImage:
    """Decode a PNG, JPEG, WebP, GIF, TIFF or BMP file; of several frames the first.

    EXIF orientation is applied, transparent pixels are blended with white, 16-bit grey is scaled to 8 bits.

    Args:
        data: The bytes of the file.
        limits: The largest image that is decoded.
        field: The request field of the image.
        factor: The largest factor by which width and height may be reduced, from their sizes in the file; it may raise
            a `ServeError` to reject them. A JPEG may be reduced by less.

    Raises:
        InvalidArgument: The file is empty.
        TooLarge: The file exceeds `limits`; its pixels are counted before any is decoded.
        UnsupportedMedia: The file has another format, or is damaged or truncated.
    """
    if not data:
        raise InvalidArgument("the image is empty", field=field)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the image must have at most {limits.max_bytes} bytes, got {len(data)}", field=field)
    read = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if read is None:
        raise UnsupportedMedia("the image must be a PNG, JPEG, WebP, GIF, TIFF or BMP", field=field)
    try:
        with read(BytesIO(data)) as image:
            _check_cost(image, data, limits, field)
            width, height = image.size
            pixels = _decode(image, data, max(1, factor(width, height)))
            orientation = _orientation(image)
        turned = turn_upright(pixels, orientation)
        if turned.shape[:2] != pixels.shape[:2]:
            width, height = height, width
        return DecodedImage(turned, width, height)
    except _BOMB as error:
        raise TooLarge("the image takes too much memory when it is decoded", field=field) from error
    except _BROKEN as error:
        raise UnsupportedMedia("the image is damaged or truncated", field=field) from error


def _check_cost(image: ImageFile.ImageFile, data: bytes, limits: ImageLimits, field: str) -> None:
    """Refuse an image whose decoding would take more memory or passes than the limits allow."""
    sizes = [image.size]
    if isinstance(image, TiffImageFile):
        sizes.append((image.tag_v2.get(_TILE_WIDTH, 0), image.tag_v2.get(_TILE_LENGTH, 0)))
        if image.info.get("compression") in _FAX_COMPRESSIONS:
            message = "a TIFF must not be fax-compressed: damage in it cannot be detected"
            raise UnsupportedMedia(message, field=field)
    for width, height in sizes:
        if width * height > limits.max_pixels:
            message = f"the image must have at most {limits.max_pixels} pixels, got {width} x {height}"
            raise TooLarge(message, field=field)
    if isinstance(image, JpegImageFile) and data.count(_START_OF_SCAN) > _MAX_JPEG_SCANS:
        raise TooLarge(f"a JPEG must have at most {_MAX_JPEG_SCANS} scans", field=field)


def _decode(image: ImageFile.ImageFile, data: bytes, factor: int) -> NDArray[np.uint8]:
    if isinstance(image, WebPImageFile):
        decoded = decode_webp(data, image.size)
        return reduce_to_rgb(image.size, lambda top, bottom: Image.fromarray(decoded[top:bottom]), factor)
    if isinstance(image, JpegImageFile):
        by_decoder = next((by for by in _JPEG_FACTORS if by <= factor), 1)
        image.draft(None, (image.width // by_decoder, image.height // by_decoder))
        factor //= by_decoder
    image.load()
    return reduce_to_rgb(image.size, lambda top, bottom: image.crop((0, top, image.width, bottom)), factor)


def _orientation(image: ImageFile.ImageFile) -> object:
    try:
        return image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return None  # its EXIF cannot be read, but its pixels can
