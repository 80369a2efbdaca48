"""How images of any shape are scaled and cut before text is detected in them."""

import numpy as np
import pytest

from servekit.errors import TooLarge
from services.vision.read_text.models.tiles import MAX_SIDE, MAX_TILES, resized, scale, tiles


@pytest.mark.parametrize(
    ("width", "height", "scaled"),
    [
        (1000, 800, (1000, 800)),
        (4000, 3000, (2000, 1500)),
        (10, 20, (30, 60)),
        (1, 1, (30, 30)),
        (1, 2000, (1, 2000)),  # enlarged without a bound, it would become 30 by 60,000 pixels
        (1990, 1, (2000, 1)),
        (1, 3000, (1, 2000)),
        (3000, 40, (2000, 27)),
        (1080, 6000, (1000, 5556)),  # tall: cut into tiles, not scaled until its text cannot be read
        (20_000, 100, (20_000, 100)),
        (2, 20_000, (2, 20_000)),
    ],
)
def test_an_image_is_scaled_to_what_the_detector_sees(width, height, scaled):
    image = np.zeros((height, width, 3), np.uint8)
    assert resized(image, scale(width, height, 8e6, "image")).shape == (*scaled[::-1], 3)


def test_a_scaled_image_has_at_most_the_pixels_that_are_allowed():
    factor = scale(7000, 7000, 2e6, "image")
    assert (7000 * factor) ** 2 == pytest.approx(2e6)


@pytest.mark.parametrize(("width", "height"), [(4, 50_000), (50_000, 100), (1500, 37_000)])
def test_an_image_of_too_many_tiles_is_rejected(width, height):
    with pytest.raises(TooLarge, match="longer side") as raised:
        scale(width, height, 8e6, "image")
    assert raised.value.field == "image"


@pytest.mark.parametrize("shape", [(24_000, 100), (100, 24_000), (4500, 1000), (1500, 2000), (1, 1)])
def test_tiles_cover_the_image_without_an_overlap(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    seen = np.zeros(shape, int)
    cut = list(tiles(image))
    for left, top, tile in cut:
        height, width = tile.shape[:2]
        assert max(height, width) <= MAX_SIDE
        np.testing.assert_array_equal(tile, image[top : top + height, left : left + width])
        seen[top : top + height, left : left + width] += 1
    assert (seen == 1).all()
    assert len(cut) <= MAX_TILES


def test_an_image_is_cut_between_its_lines():
    image = np.full((6000, 1000, 3), 255, np.uint8)
    lines = [slice(top, top + 30) for top in range(10, 6000, 47)]
    for line in lines:
        image[line, 20:900] = np.random.default_rng(0).integers(0, 256, (30, 880, 3))[: 6000 - line.start]
    edges = [top for _, top, _ in tiles(image)][1:]
    assert edges
    assert not [edge for edge in edges for line in lines if line.start < edge < line.stop]
