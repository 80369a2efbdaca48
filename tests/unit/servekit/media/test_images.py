"""Pictures: every format the same, and nothing that costs more than it may."""

import io
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia
from servekit.media.images import ImageLimits, decode_image
from tests.unit.servekit.conftest import FIELD, assert_typed

PHOTOS = Path(skimage.data.__file__).parent


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def image_of(data: bytes, **limits) -> np.ndarray:
    return decode_image(data, ImageLimits(**limits), FIELD)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


QUARTERS = Image.fromarray(
    np.kron(
        np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8), np.ones((16, 24, 1))
    ).astype(np.uint8)
)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_every_format_gives_the_same_pixels(kind):
    data = saved(QUARTERS, kind, **({"lossless": True} if kind == "WEBP" else {}))
    got = image_of(data)
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, np.asarray(QUARTERS))


def test_a_photograph_decodes_as_pillow_decodes_it():
    file = PHOTOS / "rocket.jpg"
    np.testing.assert_array_equal(image_of(file.read_bytes()), np.asarray(Image.open(file).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once(orientation, kind):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the Pillow transpose that each orientation undoes
    stored = QUARTERS.transpose(undo[orientation]) if orientation > 1 else QUARTERS
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(image_of(saved(stored, kind, exif=exif)), np.asarray(QUARTERS))


def test_transparency_is_laid_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((0, 0), (0, 0, 255, 255))
    got = image_of(saved(clear, "PNG"))
    assert tuple(got[0, 0]) == (0, 0, 255)
    assert tuple(got[1, 1]) == (255, 255, 255)


def test_a_transparent_palette_is_laid_on_white():
    palette = QUARTERS.quantize(4)
    red = palette.getpixel((0, 0))
    got = image_of(saved(palette, "PNG", transparency=red))
    assert tuple(got[0, 0]) == (255, 255, 255)
    assert tuple(got[0, -1]) == (0, 255, 0)


def test_sixteen_bits_are_scaled_not_clipped():
    grey = Image.fromarray(np.array([[0, 257, 32896, 65535]], np.uint16))
    np.testing.assert_array_equal(image_of(saved(grey, "PNG"))[0, :, 0], [0, 1, 128, 255])


def test_cmyk_becomes_rgb():
    got = image_of(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert got[4, 4, 0] > 240
    assert got[4, 4, 1] < 15


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", InvalidArgument),
        (b"hello, this is text", UnsupportedMedia),
        (b"\x89PNG\r\n\x1a\n", UnsupportedMedia),
        (b"%PDF-1.7\n", UnsupportedMedia),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", UnsupportedMedia),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedMedia),
    ],
)
def test_what_is_not_an_image_names_the_field(data, error):
    with pytest.raises(error) as caught:
        image_of(data)
    assert type(caught.value) is error
    assert caught.value.field == FIELD


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_a_truncated_image_is_an_error_not_grey(kind):
    photo = Image.open(PHOTOS / "rocket.jpg")
    data = saved(photo, kind)
    with pytest.raises(UnsupportedMedia, match="truncated"):
        image_of(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_damaged_images_raise_nothing_untyped(kind):
    data = saved(QUARTERS, kind)
    random = np.random.default_rng(7)
    for _ in range(150):
        broken = bytearray(data)
        for at in random.integers(4, len(data), 4):
            broken[at] = random.integers(256)
        assert_typed(lambda: image_of(bytes(broken), max_pixels=1_000_000))  # noqa: B023


def refused_cheaply(data: bytes, match: str) -> None:
    tracemalloc.start()
    began = time.thread_time()
    with pytest.raises(TooLarge, match=match):
        image_of(data)
    seconds, (_, peak) = time.thread_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.5
    assert peak < 20_000_000


def test_a_huge_png_is_refused_before_it_is_decoded():
    rows = zlib.compress(bytes(1 << 20))
    refused_cheaply(png(30_000, 30_000, png_chunk(b"IDAT", rows)), "got 30000 x 30000")


@pytest.mark.parametrize("side", [10_000, 12_000, 30_000])
def test_pillows_own_warning_never_leaks(side):
    """10,000 squared is where Pillow warns, 30,000 squared where it refuses."""
    refused_cheaply(png(side, side, png_chunk(b"IDAT", zlib.compress(b"x"))), "pixels")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"])
def test_pixels_are_bounded_in_every_format(kind):
    data = saved(QUARTERS, kind)
    assert image_of(data, max_pixels=48 * 32).shape == (32, 48, 3)
    with pytest.raises(TooLarge, match="48 x 32"):
        image_of(data, max_pixels=48 * 32 - 1)


def test_a_tile_may_not_be_larger_than_the_image_could():
    data = bytearray(saved(QUARTERS, "TIFF"))
    rows_per_strip = data.find(struct.pack("<HHI", 278, 4, 1))
    assert rows_per_strip > 0
    data[rows_per_strip : rows_per_strip + 12] = struct.pack("<HHII", 322, 4, 1, 60_000)
    strip_counts = data.find(struct.pack("<HHI", 279, 4, 1))
    data[strip_counts : strip_counts + 12] = struct.pack("<HHII", 323, 4, 1, 60_000)
    with pytest.raises(InvalidArgument):
        image_of(bytes(data))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_compressed_tiffs_decode(compression):
    got = image_of(saved(QUARTERS, "TIFF", compression=compression)).astype(int)
    assert np.abs(got - np.asarray(QUARTERS)).mean() < 8


def test_a_fax_is_refused():
    with pytest.raises(UnsupportedMedia, match="fax"):
        image_of(saved(QUARTERS.convert("1"), "TIFF", compression="group4"))


def test_a_compressed_text_chunk_is_not_inflated():
    bomb = b"note\0\0" + zlib.compress(bytes(100 << 20), 9)
    tracemalloc.start()
    with pytest.raises(UnsupportedMedia):
        image_of(png(1, 1, png_chunk(b"zTXt", bomb), png_chunk(b"IDAT", zlib.compress(bytes(4)))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_an_animation_costs_one_frame():
    frames = [Image.fromarray(np.full((200, 200), n % 256, np.uint8)) for n in range(400)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    began = time.thread_time()
    assert image_of(data).shape == (200, 200, 3)
    assert time.thread_time() - began < 0.2


def test_a_jpeg_of_endless_scans_is_refused():
    data = saved(Image.open(PHOTOS / "rocket.jpg"), "JPEG", progressive=True)
    scan = data[data.index(b"\xff\xda") : data.index(b"\xff\xc4", data.index(b"\xff\xda"))]
    refused_cheaply(data.replace(scan, scan * 2000, 1), "scans")


def test_bytes_are_bounded():
    data = saved(QUARTERS, "PNG")
    assert image_of(data, max_bytes=len(data)).shape == (32, 48, 3)
    with pytest.raises(TooLarge, match="bytes"):
        image_of(data, max_bytes=len(data) - 1)
