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

# libtiff continues past damage in these: it fills the rows with grey and prints a line to stderr for each.
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

# What Pillow's parsers raise for damaged files; warnings among them, where a process turns them into errors.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error, zlib.error, Warning)
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError)


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest image that is decoded.

    Attributes:
        max_bytes: The most bytes of the file.
        max_pixels: The most pixels, width times height; decoding takes about 10 bytes per pixel.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000


def decode_image(data: bytes, limits: ImageLimits, field: str) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG, WebP, GIF, TIFF or BMP file; of several frames the first.

    EXIF orientation is applied, transparent pixels are blended with white, 16-bit grey is scaled to 8 bits.

    Returns:
        RGB, uint8 `[height, width, 3]`, writable and contiguous.

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
            image.load()
            return _to_rgb(_upright(image))
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


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return image  # its EXIF cannot be read, but its pixels can
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image.transpose(turn) if turn is not None else image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.uint32)
        return np.repeat(((grey + 128) // 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("32-bit samples have no defined white level")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"), dtype=np.uint8)
