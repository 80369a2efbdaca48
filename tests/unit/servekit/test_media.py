import io
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import skimage.data
from PIL import Image

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia
from servekit.media import (
    AUDIO_TYPES,
    AudioEncoder,
    AudioLimits,
    ImageLimits,
    audio_chunks,
    claimed_seconds,
    decode_audio,
    decode_image,
    encode_audio,
)

PHOTOS = Path(skimage.data.__file__).parent
FIELD = "messages[0].content[1]"


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def image_of(data: bytes, **limits) -> np.ndarray:
    return decode_image(data, ImageLimits(**limits), FIELD)


def assert_typed(decode: Callable[[], object]) -> None:
    """It works, or it says which field is at fault."""
    try:
        decode()
    except InvalidArgument as error:
        field = error.field
    else:
        field = FIELD
    assert field == FIELD


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
    with pytest.raises(UnsupportedMedia, match="cut short"):
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
    began = time.perf_counter()
    with pytest.raises(TooLarge, match=match):
        image_of(data)
    seconds, (_, peak) = time.perf_counter() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.5
    assert peak < 20_000_000


def test_a_huge_png_is_refused_before_it_is_decoded():
    rows = zlib.compress(bytes(1 << 20))
    refused_cheaply(png(30_000, 30_000, png_chunk(b"IDAT", rows)), "30000 x 30000 pixels")


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
    began = time.perf_counter()
    assert image_of(data).shape == (200, 200, 3)
    assert time.perf_counter() - began < 0.2


def test_a_jpeg_of_endless_scans_is_refused():
    data = saved(Image.open(PHOTOS / "rocket.jpg"), "JPEG", progressive=True)
    scan = data[data.index(b"\xff\xda") : data.index(b"\xff\xc4", data.index(b"\xff\xda"))]
    refused_cheaply(data.replace(scan, scan * 2000, 1), "scans")


def test_bytes_are_bounded():
    data = saved(QUARTERS, "PNG")
    assert image_of(data, max_bytes=len(data)).shape == (32, 48, 3)
    with pytest.raises(TooLarge, match="bytes"):
        image_of(data, max_bytes=len(data) - 1)


RATE = 24_000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def sound_of(data: bytes, rate: int = 16_000, **limits) -> np.ndarray:
    return decode_audio(data, AudioLimits(**limits), FIELD, rate)


def pitch(samples: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def wav(samples: np.ndarray, rate: int, channels: int = 1, claimed: int | None = None) -> bytes:
    """A WAV by hand: 16-bit integers or 32-bit floats, its header claiming what it likes."""
    body = samples.tobytes()
    width = samples.dtype.itemsize
    kind = 3 if samples.dtype.kind == "f" else 1
    size = len(body) if claimed is None else claimed
    form = struct.pack(
        "<HHIIHH", kind, channels, rate, rate * channels * width % 2**32, channels * width % 65536, 8 * width
    )
    return (
        b"RIFF"
        + struct.pack("<I", min(size + 36, 2**32 - 1))
        + b"WAVEfmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", size)
        + body
    )


@pytest.mark.parametrize("mime_type", [kind for kind in AUDIO_TYPES if kind != "audio/pcm"])
def test_what_is_encoded_decodes_back(mime_type):
    encoder = AudioEncoder(mime_type, RATE)
    parts = [encoder.encode(part) for part in np.array_split(TONE, 40)]
    streamed = b"".join([*parts, encoder.finish()])
    for data in (streamed, encode_audio(TONE, mime_type, RATE)):
        got = sound_of(data)
        assert abs(len(got) / 16_000 - 2) < 0.1
        assert abs(pitch(got, 16_000) - 440) < 2
        assert abs(np.sqrt(np.mean(got**2)) - 0.5 / np.sqrt(2)) < 0.03
    assert any(parts[:20]), "nothing came out before the second half went in"


def test_pcm_is_the_samples():
    encoder = AudioEncoder("audio/pcm", RATE)
    data = encoder.encode(np.array([0, 0.5, -1, 2], np.float32)) + encoder.finish()
    np.testing.assert_allclose(np.frombuffer(data, "<i2"), [0, 16384, -32768, 32767], atol=1)


def test_wav_headers_say_what_is_known():
    encoder = AudioEncoder("audio/wav", RATE)
    streamed = encoder.encode(TONE) + encoder.finish()
    assert streamed[36:44] == b"data\xff\xff\xff\xff"
    whole = encode_audio(TONE, "audio/wav", RATE)
    assert len(whole) == 44 + 2 * len(TONE)
    assert struct.unpack("<I", whole[4:8])[0] == len(whole) - 8
    assert whole[36:44] == b"data" + struct.pack("<I", 2 * len(TONE))


@pytest.mark.parametrize("mime_type", AUDIO_TYPES)
def test_nothing_said_is_still_a_stream(mime_type):
    encoder = AudioEncoder(mime_type, RATE)
    assert encoder.encode(np.zeros(0, np.float32)) is not None
    encoder.finish()


def test_a_rate_that_the_codec_lacks_is_raised():
    assert abs(pitch(sound_of(encode_audio(TONE, "audio/opus", 22_050)), 16_000) - 440 * 22_050 / RATE) < 2


@pytest.mark.parametrize(
    ("mime_type", "rate", "field"), [("audio/x", 24_000, "mime_type"), ("audio/wav", 1, "sample_rate")]
)
def test_what_cannot_be_encoded_is_refused(mime_type, rate, field):
    with pytest.raises(InvalidArgument) as caught:
        AudioEncoder(mime_type, rate)
    assert caught.value.field == field


def test_any_rate_and_channels_become_mono():
    time_axis = np.arange(44_100) / 44_100
    left = np.sin(2 * np.pi * 300 * time_axis)
    both = (np.stack([left, np.zeros_like(left)], axis=1) * 20_000).astype(np.int16)
    got = sound_of(wav(both, 44_100, channels=2))
    assert abs(len(got) - 16_000) < 32
    assert abs(pitch(got, 16_000) - 300) < 2
    assert abs(got.max() - 20_000 / 32768 / 2) < 0.02


def test_samples_that_need_no_resampling_pass_unchanged():
    np.testing.assert_array_equal(sound_of(wav(TONE, 16_000)), TONE)


def test_a_header_that_claims_ten_hours_decodes_as_what_there_is():
    second = (TONE[:16_000] * 32767).astype(np.int16)
    got = sound_of(wav(second, 16_000, claimed=10 * 3600 * 32_000), max_seconds=5)
    assert len(got) == 16_000


def test_seconds_are_counted_in_samples():
    data = encode_audio(np.zeros(120 * RATE, np.float32), "audio/flac", RATE)
    assert len(data) < 200_000
    seen = []
    with pytest.raises(TooLarge, match="10 seconds") as caught:
        seen.extend(len(chunk) for chunk in audio_chunks(data, AudioLimits(max_seconds=10), FIELD))
    assert caught.value.field == FIELD
    assert sum(seen) <= 160_000


def test_a_long_recording_is_decoded_in_flat_memory():
    data = encode_audio(np.zeros(120 * 16_000, np.float32), "audio/flac", 16_000)
    tracemalloc.start()
    total = sum(len(chunk) for chunk in audio_chunks(data, AudioLimits(), FIELD))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 120 * 16_000
    assert peak < 1_000_000  # a tenth of the samples


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(bad):
    samples = TONE.copy()
    samples[1000] = bad
    with pytest.raises(InvalidArgument, match="NaN") as caught:
        sound_of(wav(samples, 16_000))
    assert caught.value.field == FIELD


def test_loud_floats_are_clipped():
    assert np.abs(sound_of(wav(TONE * 1e20, 16_000))).max() == 1


def film(with_sound: bool) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = out.add_stream("aac", rate=RATE, layout="mono") if with_sound else None
        for n in range(20):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), n * 10, np.uint8))))
        if audio:
            frame = av.AudioFrame.from_ndarray(TONE.reshape(1, -1), format="flt", layout="mono")
            frame.sample_rate = RATE
            out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
        out.mux(video.encode(None))
    return file.getvalue()


def test_a_film_gives_its_sound():
    got = sound_of(film(with_sound=True))
    assert abs(len(got) / 16_000 - 2) < 0.1
    assert abs(pitch(got, 16_000) - 440) < 2


def test_a_silent_film_is_not_a_recording():
    with pytest.raises(UnsupportedMedia, match="no audio track"):
        sound_of(film(with_sound=False))


@pytest.mark.parametrize(
    "data",
    [
        b"just some words, again and again. " * 500,
        b"\0" * 5000,
        bytes(range(256)) * 40,
        wav(np.zeros(0, np.int16), 16_000),
        wav(np.zeros(100, np.int16), 1),
        wav(np.zeros(100, np.int16), 4_000_000_000),
        wav(np.zeros(200_000, np.int16), 16_000, channels=300),
        wav(np.zeros(200_000, np.int16), 16_000, channels=65_535),
        wav(np.zeros(100, np.int16), 16_000)[:30],
        saved(QUARTERS, "PNG"),
        saved(QUARTERS, "GIF"),
    ],
)
def test_what_is_no_recording_is_refused(data):
    with pytest.raises(UnsupportedMedia) as caught:
        sound_of(data)
    assert caught.value.field == FIELD


def test_an_empty_recording_is_refused():
    with pytest.raises(InvalidArgument, match="empty"):
        sound_of(b"")


@pytest.mark.parametrize("mime_type", [kind for kind in AUDIO_TYPES if kind != "audio/pcm"])
def test_damaged_recordings_raise_nothing_untyped(mime_type):
    data = encode_audio(TONE, mime_type, RATE)
    random = np.random.default_rng(3)
    for _ in range(40):
        broken = bytearray(data[: random.integers(10, len(data))])
        for at in random.integers(0, len(broken), 10):
            broken[at] = random.integers(256)
        assert_typed(lambda: sound_of(bytes(broken), max_seconds=20))  # noqa: B023


def test_a_claim_is_believed_no_further_than_the_bytes_allow():
    second = (TONE[:16_000] * 32767).astype(np.int16)
    assert claimed_seconds(wav(second, 16_000)) == pytest.approx(1)
    assert claimed_seconds(wav(second, 16_000, claimed=10 * 3600 * 32_000)) <= 32_044 / 500
    assert claimed_seconds(b"no recording") == 0
    assert claimed_seconds(b"") == 0


def test_a_track_of_an_unknown_codec_is_refused():
    data = wav(TONE, 16_000)
    with pytest.raises(UnsupportedMedia):
        sound_of(data.replace(b"\x10\0\0\0\x03\0", b"\x10\0\0\0\x99\x7a"))


def playlists(address: str) -> dict[str, bytes]:
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile {address}\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "dash": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="a"><BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>'.encode(),
    }


@pytest.mark.parametrize("kind", ["hls", "concat", "sdp", "dash"])
@pytest.mark.parametrize("scheme", ["file://", ""])
def test_a_playlist_opens_nothing(tmp_path, kind, scheme):
    """The file that it names is a good recording: had it been opened, there would be samples."""
    target = tmp_path / "sound.wav"
    target.write_bytes(wav(TONE, 16_000))
    with pytest.raises(UnsupportedMedia):
        sound_of(playlists(f"{scheme}{target}")[kind])


def test_a_film_may_not_refer_to_another_file(tmp_path):
    target = tmp_path / "sound.wav"
    target.write_bytes(wav(TONE, 16_000))
    data = re.sub(rb"url \x00\x00\x00\x01", b"url \0\0\0\0", film(with_sound=True))
    with pytest.raises(UnsupportedMedia):
        sound_of(data[: data.index(b"mdat")] + str(target).encode())


def test_libav_says_nothing_on_stderr():
    code = (
        "from servekit.media import *; from servekit.errors import ServeError\n"
        "for data in (b'#EXTM3U\\nfile:///x', b'RIFF' + bytes(99), b'fLaC' + bytes(999), b'\\xff\\xfb' * 900):\n"
        "    try: decode_audio(data, AudioLimits(), 'x')\n"
        "    except ServeError: pass\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=60, check=True)
    assert ran.stderr == b""
