"""Generates the media of the canary set: `python evaluation/canary/make.py --help`.

Pictures are drawn and speech is synthesised from the texts of canary.toml; the photograph and the
recordings are cut from where their `origin` says. A file that changes changes the measured baseline.
"""

import argparse
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from client.blocking import BlockingConnection
from servekit.media.audio_encoder import encode_audio

FOLDER = Path(__file__).parent
RATE = 16_000
MARGIN = 24


@dataclass(frozen=True)
class TextStyle:
    """The style of a drawn text: its font file, the height in pixels, and the distortion of the camera."""

    font: str
    size: int
    angle: float = 0.0
    blur: float = 0.0
    noise: float = 0.0


LOOKS = {
    "notice.jpg": TextStyle("DejaVuSerif.ttf", 24, angle=2.5, blur=0.8),
    "receipt.jpg": TextStyle("DejaVuSansMono.ttf", 20, noise=18),
    "museum.jpg": TextStyle("wqy-microhei.ttc", 28, noise=14),
    "parcel.jpg": TextStyle("wqy-microhei.ttc", 26, angle=-2.0, blur=0.7),
}
CLIPS = {"austen-1.opus": "0870", "austen-2.opus": "0880", "austen-3.opus": "0890", "austen-4.opus": "0930"}


def draw(text: str, look: TextStyle) -> bytes:
    """A JPEG of dark lines on light grey."""
    font = ImageFont.truetype(look.font, look.size)
    text = text.strip()
    _, _, width, height = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font, spacing=10)
    image = Image.new("L", (int(width) + 2 * MARGIN, int(height) + 2 * MARGIN), 225)
    ImageDraw.Draw(image).multiline_text((MARGIN, MARGIN), text, 40, font, spacing=10)
    image = image.rotate(look.angle, Image.Resampling.BICUBIC, expand=True, fillcolor=225)
    image = image.filter(ImageFilter.GaussianBlur(look.blur))
    pixels = np.asarray(image) + np.random.default_rng(0).normal(0, look.noise, (image.height, image.width))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=70)
    return file.getvalue()


def page() -> bytes:
    """The upper part of scikit-image's photograph of a page, as PNG."""
    file = io.BytesIO()
    Image.open(Path(skimage.data.__file__).with_name("page.png")).crop((0, 0, 384, 140)).save(file, "PNG")
    return file.getvalue()


def clip(folder: Path, number: str) -> bytes:
    """A recording of pocketsphinx's test data, as Opus."""
    with av.open(folder / f"sense_and_sensibility_01_austen_64kb-{number}.wav") as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return encode_audio(np.concatenate([frame.to_ndarray()[0] for frame in frames]), "audio/opus", RATE)


def speech(gateway: str, text: str) -> bytes:
    """A text, synthesized by the fleet, as Opus."""
    body = {"model": "hibari", "input": text, "response_format": "opus"}
    with BlockingConnection(gateway) as connection:
        return connection.send("POST", "/v1/audio/speech", json=body).content


def main() -> None:
    """Write every file that canary.toml names."""
    parser = argparse.ArgumentParser(description="Makes the media of the canary set again.")
    parser.add_argument("--gateway", required=True, help="a fleet of the embedded profile, which speaks")
    parser.add_argument("--clips", required=True, type=Path, help="librivox/ of Debian's pocketsphinx-testdata")
    options = parser.parse_args()
    listing = tomllib.loads((FOLDER / "canary.toml").read_text())
    for item in listing["read_text"]:
        name = item["file"]
        (FOLDER / name).write_bytes(draw(item["text"], LOOKS[name]) if name in LOOKS else page())
    for item in listing["transcribe"]:
        name = item["file"]
        number = CLIPS.get(name)
        (FOLDER / name).write_bytes(clip(options.clips, number) if number else speech(options.gateway, item["text"]))


if __name__ == "__main__":
    main()
