"""The declared size of an image, against files that Pillow writes."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from servekit.media.image_size import declared_size

MAGICS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"RIFF0000WEBPVP8 ",
    b"RIFF0000WEBPVP8L",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"BM",
)


def encoded(form, **options):
    file = io.BytesIO()
    Image.new("RGB", (301, 207), "white").save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": b"Exif\0\0" + b"x" * 60_000, "icc_profile": b"x" * 200_000}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": b"Exif\0\0" + b"x" * 99}),
        ("GIF", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_deflate"}),
        ("TIFF", {"big_tiff": True}),
    ],
)
def test_the_size_is_known_from_the_beginning_of_a_file(form, options):
    data = encoded(form, **options)
    expected = None if "big_tiff" in options else (301, 207)
    assert declared_size(data) == expected
    for length in range(40):
        assert declared_size(data[:length]) in (None, expected)


def test_a_big_endian_tiff():
    entries = b"".join(
        tag.to_bytes(2) + b"\0\3\0\0\0\1" + size.to_bytes(2) + b"\0\0" for tag, size in ((256, 301), (257, 207))
    )
    assert declared_size(b"MM\0*\0\0\0\x08\0\2" + entries) == (301, 207)


def test_a_file_of_another_format_declares_nothing():
    assert declared_size(b"") is None
    assert declared_size(b"<svg width='1'/>") is None
    assert declared_size(b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000) is None  # the search is bounded


@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_damaged_files_are_no_error(magic, rest):
    size = declared_size(magic + rest)
    assert size is None or min(size) > 0
