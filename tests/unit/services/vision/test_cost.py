"""The cost of reading an image, estimated before it is decoded."""

import io

import pytest
from PIL import Image

from services.vision.read_text.read_text import estimated_megapixels
from services.vision.settings import VisionSettings


def flat(width, height, form="PNG"):
    file = io.BytesIO()
    Image.new("L", (width, height), 255).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "least", "most"),
    [
        ((1000, 1000), 1.0, 1.1),
        ((2000, 2000), 4.0, 4.2),
        ((7000, 7000), 4.0, 6.0),  # scaled down to 4 megapixels
        ((20_000, 2000), 10.0, 20.0),  # read in tiles
        ((30, 100_000), 0.0, 0.1),  # refused once it is decoded: too many tiles
    ],
)
def test_the_cost_follows_from_the_pixels_in_which_text_is_detected(size, least, most):
    assert least <= estimated_megapixels(flat(*size), VisionSettings()) <= most


def test_a_small_file_of_many_pixels_costs_as_much_as_a_large_one():
    small, large = flat(7000, 7000), flat(7000, 7000) + b"x" * 4_000_000
    assert len(small) < 100_000
    assert estimated_megapixels(small, VisionSettings()) == estimated_megapixels(large, VisionSettings())


def test_a_false_size_costs_no_more_than_the_largest_image():
    data = bytearray(flat(1, 1))
    data[16:24] = b"\x7f\xff\xff\xff" * 2
    assert estimated_megapixels(bytes(data), VisionSettings()) < 10


def test_a_file_that_declares_no_size_is_estimated_by_its_bytes():
    assert estimated_megapixels(b"?" * 400_000, VisionSettings()) == 1
