"""Pictures: the bytes of a file to an upright RGB array, within bounds."""

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

from servekit.rpc.errors import InvalidArgument, TooLarge, UnsupportedMedia

# What a file begins with decides what reads it: formats that nobody sends are not parsed, and
# Pillow's own process-wide pixel bound, which warns before it refuses, stays out of the way.
_READERS: tuple[tuple[bytes, Callable[[BytesIO], ImageFile.ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF8", GifImageFile),
    (b"II*\x00", TiffImageFile),
    (b"MM\x00*", TiffImageFile),
    (b"BM", BmpImageFile),
)

# Each scan of a progressive JPEG costs a pass over the whole picture; encoders write about ten.
_MAX_JPEG_SCANS = 100
_START_OF_SCAN = b"\xff\xda"

# libtiff goes on past damage in these, row by row, with grey in place of the picture and a line on stderr for each.
_FAX_COMPRESSIONS = {"tiff_ccitt", "group3", "group4", "tiff_raw_16"}
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's parsers raise on bytes that are not what they seem; warnings, where a process makes errors of them.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error, Warning)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest picture that is decoded.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Width times height; decoding takes about 10 bytes a pixel.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000


def decode_image(data: bytes, limits: ImageLimits, field: str) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, WebP, GIF, TIFF or BMP; of several frames the first.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8.

    Returns:
        (height, width, 3) RGB, writable and contiguous.

    Raises:
        InvalidArgument: There are no bytes.
        TooLarge: More bytes or pixels than `limits`; pixels are counted before any is decoded.
        UnsupportedMedia: Not a picture, of another format, or broken or cut short.
    """
    if not data:
        raise InvalidArgument("the image is empty", field=field)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"the image has {len(data)} bytes, at most {limits.max_bytes} are accepted", field=field)
    read = next((reader for magic, reader in _READERS if data.startswith(magic)), None)
    if read is None:
        raise UnsupportedMedia("not a PNG, JPEG, WebP, GIF, TIFF or BMP image", field=field)
    try:
        with read(BytesIO(data)) as image:
            _check_cost(image, data, limits, field)
            image.load()
            return _to_rgb(_upright(image))
    except _BOMB as error:
        raise TooLarge("the image expands to more than is accepted", field=field) from error
    except _BROKEN as error:
        raise UnsupportedMedia("the image is broken or cut short", field=field) from error


def _check_cost(image: ImageFile.ImageFile, data: bytes, limits: ImageLimits, field: str) -> None:
    """Refuse what decoding would allocate or repeat beyond the limits."""
    sizes = [image.size]
    if isinstance(image, TiffImageFile):
        sizes.append((image.tag_v2.get(_TILE_WIDTH, 0), image.tag_v2.get(_TILE_LENGTH, 0)))
        if image.info.get("compression") in _FAX_COMPRESSIONS:
            raise UnsupportedMedia("a fax-compressed TIFF, in which damage cannot be told", field=field)
    for width, height in sizes:
        if width * height > limits.max_pixels:
            raise TooLarge(f"{width} x {height} pixels, at most {limits.max_pixels} are accepted", field=field)
    if isinstance(image, JpegImageFile) and data.count(_START_OF_SCAN) > _MAX_JPEG_SCANS:
        raise TooLarge(f"a JPEG of more than {_MAX_JPEG_SCANS} scans", field=field)


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return image  # a picture with unreadable EXIF is still a picture
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(turn) if turn is not None else image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit samples say nothing of what is white")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), dtype=np.uint8)
