"""How PP-OCR's detector sees an image."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ((191, 384), (736, 1472)),  # enlarged until the shorter side is long enough
        ((63, 384), (256, 1472)),  # a strip: until the longer side is
        ((1200, 160), (1472, 192)),
        ((900, 1700), (896, 1696)),  # large enough: only to what the network can halve
        ((100, 2016), (96, 2016)),  # never made smaller
        ((1, 40), (32, 1472)),
    ],
)
def test_an_image_is_enlarged_within_bounds(given, seen):
    from services.vision.read_text.models.ppocr import Enlargement  # RapidOCR takes seconds to import

    image = np.zeros((*given, 3), np.uint8)

    assert Enlargement(736, "min").resize(image).shape == (*seen, 3)
