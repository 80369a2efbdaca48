"""The memory that decoding a large image takes, measured in a process of its own."""

import io
import subprocess
import sys

import pytest
from PIL import Image

SIDE = 4096
CHILD = """
import sys
from servekit.media.images import ImageLimits, decode_reduced

def memory(name):
    for line in open("/proc/self/status"):
        if line.startswith(name):
            return int(line.split()[1]) << 10

data = sys.stdin.buffer.read()
open("/proc/self/clear_refs", "w").write("5")  # the peak starts again
before = memory("VmRSS")
image = decode_reduced(data, ImageLimits(), "image", lambda width, height: 2)
assert image.pixels.shape == (2048, 2048, 3) and image.width == image.height == 4096
print((memory("VmHWM") - before) / (image.width * image.height))
"""


def bytes_per_pixel(image: Image.Image, kind: str, **options) -> float:
    file = io.BytesIO()
    image.save(file, kind, **options)
    done = subprocess.run([sys.executable, "-c", CHILD], input=file.getvalue(), capture_output=True, check=True)
    return float(done.stdout)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize(
    ("mode", "kind", "options", "most"),
    [
        ("RGB", "JPEG", {"exif": exif(6)}, 3),
        ("RGBA", "PNG", {"compress_level": 1}, 6.5),
        ("I;16", "PNG", {"compress_level": 1}, 4.5),
        ("RGBA", "WEBP", {"lossless": True, "quality": 0, "method": 0}, 9),
    ],
)
def test_a_large_image_is_decoded_at_a_reduced_size(mode, kind, options, most):
    """At its full size, and with copies of it, an image took 11 to 22 bytes for each pixel."""
    assert bytes_per_pixel(Image.new(mode, (SIDE, SIDE)), kind, **options) < most
