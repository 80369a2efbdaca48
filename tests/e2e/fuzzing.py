"""Strange pictures, recordings and texts, each drawn by a random generator: the same seed gives the same ones."""

import io
import os
import warnings

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.unit.servekit.media.test_audio import wav

CASES = int(os.environ.get("FUZZ_CASES", "1"))
"""The factor by which more cases are drawn than in a usual run; 50 take about an hour."""

SHAPES = (
    (1, 1), (1, 2), (3, 3), (1, 3000), (3000, 1), (1990, 1), (1990, 6), (2, 20_000), (20_000, 2), (4, 5000), (5000, 4),
    (31, 33), (30, 2000), (2000, 30), (9000, 40), (40, 9000), (700, 500), (60_000, 5), (5, 60_000),
)  # fmt: skip
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "CMYK", "F", "animation", "turned")
CONTENTS = ("black", "white", "one colour", "noise", "text", "boxes", "lines", "gradient")
SOUNDS = (
    "silence", "offset", "clipping", "nan", "infinity", "huge", "tiny", "sample", "impulses", "noise", "nyquist",
    "sweep", "empty",
)  # fmt: skip
LANGUAGES = ("", "en", "zh", "yue", "xx", "EN", "e", "en-US", "\0", "\u202e", "a" * 300)

_WORDS = "The quick brown fox jumps over the lazy dog. " * 100


def picture(random: np.random.Generator) -> tuple[str, bytes]:
    """A description of a random image, and its file."""
    width, height = SHAPES[random.integers(len(SHAPES))]
    mode, content = (options[random.integers(len(options))] for options in (MODES, CONTENTS))
    image = Image.fromarray(_pixels(content, width, height, random))
    options: dict[str, object] = {}
    kind = "PNG"
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode == "CMYK":
        image, kind = image.convert("CMYK"), "TIFF"
    elif mode == "F":
        image, kind = image.convert("F"), "TIFF"
    elif mode == "animation":
        kind, options = "GIF", {"save_all": True, "append_images": [image.rotate(180), image]}
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(0, 10))
        options = {"exif": exif}
    elif mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(int(random.integers(256)))
    else:
        image = image.convert(mode)
        if mode == "RGB":
            kind = ("PNG", "JPEG", "BMP", "WEBP")[random.integers(4 if max(image.size) < 16_000 else 3)]
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        image.save(file, kind, **options)
    return f"{content} {mode} {kind} {width}x{height}", file.getvalue()


def _pixels(content: str, width: int, height: int, random: np.random.Generator) -> np.ndarray:
    if content == "noise":
        return random.integers(0, 256, (height, width, 3), np.uint8)
    if content == "boxes":  # thousands, as a detector of text may see them
        rows, columns = np.mgrid[:height, :width]
        return np.repeat((((rows // 5 + columns // 9) % 2) * 255).astype(np.uint8)[:, :, None], 3, axis=2)
    if content == "gradient":
        return np.repeat((np.add.outer(np.arange(height), np.arange(width)) % 256).astype(np.uint8)[:, :, None], 3, 2)
    if content == "lines":
        stripes = np.full((height, width, 3), 255, np.uint8)
        stripes[::12] = 0
        return stripes
    colour = {"black": 0, "one colour": tuple(int(n) for n in random.integers(0, 256, 3))}.get(content, 255)
    image = Image.new("RGB", (width, height), colour if isinstance(colour, tuple) else (colour,) * 3)
    if content == "text":
        font = ImageFont.load_default(size=max(5, min(40, int(min(width, height) * 0.8))))
        ImageDraw.Draw(image).text((0, 0), _WORDS, fill="black", font=font)
    return np.asarray(image)


def recording(random: np.random.Generator) -> tuple[str, bytes]:
    """A description of a random recording, and its file."""
    rate = int(random.choice([8, 1999, 2000, 8000, 11_025, 16_000, 44_100, 96_000, 384_000]))
    channels = int(random.choice([1, 1, 2, 3, 6, 8, 9, 24]))
    seconds = float(random.choice([0.01, 0.1, 0.5, 1.0, 3.0, 40.0 if rate <= 16_000 and channels < 3 else 2.0]))
    count = max(1, int(rate * seconds))
    times = np.arange(count) / rate
    kind = SOUNDS[random.integers(len(SOUNDS))]
    samples = {
        "offset": np.full(count, 0.9),
        "clipping": np.sign(np.sin(2 * np.pi * 220 * times)),
        "nan": np.where(np.arange(count) == count // 2, np.nan, 0.1),
        "infinity": np.where(np.arange(count) == count // 2, np.inf, 0.1),
        "huge": np.sin(2 * np.pi * 220 * times) * 1e30,
        "tiny": np.sin(2 * np.pi * 220 * times) * 1e-38,
        "impulses": (np.arange(count) % 997 == 0).astype(float),
        "noise": random.normal(0, 0.3, count),
        "nyquist": np.where(np.arange(count) % 2, 1.0, -1.0),
        "sweep": np.sin(2 * np.pi * times * times * 500),
    }.get(kind, np.zeros(count))
    samples = {"sample": samples[:1], "empty": samples[:0]}.get(kind, samples)
    spread = np.repeat(samples[:, None], channels, axis=1).astype(np.float32)
    if kind in ("nan", "infinity", "huge", "tiny") or random.integers(2):
        return f"{kind} float {rate} Hz {channels} channels {seconds} s", wav(spread, rate, channels)
    whole = (np.clip(spread, -1, 1) * 32767).astype(np.int16)
    return f"{kind} int16 {rate} Hz {channels} channels {seconds} s", wav(whole, rate, channels)


TEXTS = {
    "spaces": " \t\n\u3000" * 50,
    "zero": "a\0b",
    "only zero": "\0",
    "combining marks": "a" + "\u0301" * 3000,
    "right to left marks": "\u202e\u200f abc \u202c" * 20,
    "invisible": "\u200b\ufeff\u2060",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 50,
    "unassigned": "\U000e0fff\uffff\ufdd0",
    "one long word": "a" * 4000,
    "punctuation": "?!.,;:" * 300,
    "digits": "9" * 4000,
    "line ends": "\r\n\u2028\u2029" * 300,
    "scripts": "Привет שלום مرحبا नमस्ते 你好 こんにちは 안녕 " * 10,
    "markup": "<speak><break time='1e9s'/></speak>{{}}%s%n<|endoftext|><|im_start|>[PAD]",
}


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """A file with a few damaged bytes, a part that is left out or repeated, or an end that is cut off."""
    damaged = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        at, length = int(random.integers(len(damaged))), int(random.integers(1, 64))
        match int(random.integers(4)):
            case 0:
                damaged[at] = int(random.integers(256))
            case 1:
                damaged[at : at + length] = bytes(damaged[at : at + length]) * 2
            case 2 if len(damaged) > 200:
                del damaged[at : at + length]
            case _:
                damaged[at : at + 4] = random.choice([b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff\xff\xff"])
    return bytes(damaged)
