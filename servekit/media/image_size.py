"""The size that an image file declares in its first bytes: read in microseconds, for estimates before it is decoded."""

import struct
from collections.abc import Callable

_MAX_SEGMENTS = 64  # of a JPEG, or entries of a TIFF's first directory, that are searched
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TIFF_WIDTH, _TIFF_LENGTH = 256, 257


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in pixels, before any rotation, that a PNG, JPEG, WebP, GIF, TIFF or BMP declares.

    Returns:
        Both, at least 1; None where the file has another format, is damaged, or declares them far from its beginning.
    """
    read = next((read for magic, read in _READERS if data.startswith(magic)), None)
    try:
        size = read(data) if read else None
    except (struct.error, IndexError):  # it is truncated
        return None
    return size if size and min(size) > 0 else None


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int] | None:
    header_bytes, width, height = struct.unpack_from("<Iii", data, 14)
    return (abs(width), abs(height)) if header_bytes >= 40 else None


def _webp(data: bytes) -> tuple[int, int] | None:
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            (bits,) = struct.unpack_from("<I", data, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
            return (high_width << 16 | low_width) + 1, (high_height << 16 | low_height) + 1
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    for _ in range(_MAX_SEGMENTS):
        mark, marker, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF:
            return None
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + length
    return None


def _tiff(data: bytes) -> tuple[int, int] | None:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (entries,) = struct.unpack_from(f"{order}H", data, at)
    sizes: dict[int, int] = {}
    for entry in range(min(entries, _MAX_SEGMENTS)):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, at + 2 + 12 * entry)
        (sizes[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, at + 10 + 12 * entry)
    if _TIFF_WIDTH in sizes and _TIFF_LENGTH in sizes:
        return sizes[_TIFF_WIDTH], sizes[_TIFF_LENGTH]
    return None


_READERS: tuple[tuple[bytes, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _webp),
    (b"GIF8", _gif),
    (b"II*\x00", _tiff),
    (b"MM\x00*", _tiff),
    (b"BM", _bmp),
)
