"""Sound in and out: any container and codec, and nothing that costs more than it may."""

import io
import re
import struct
import subprocess
import sys
import tracemalloc

import av
import numpy as np
import pytest

from servekit.errors import InvalidArgument, TooLarge, UnsupportedMedia
from servekit.media.audio import AudioLimits, audio_chunks, claimed_seconds, decode_audio
from servekit.media.audio_encoder import AUDIO_TYPES, AudioEncoder, encode_audio
from tests.unit.servekit.conftest import FIELD, assert_typed, picture

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


@pytest.mark.parametrize("channels", [8, 9, 16, 64])
def test_channels_are_mixed_or_refused_as_too_many(channels):
    data = wav(np.full((1600, channels), 1000, np.int16), 16_000, channels)
    if channels in (8, 16):
        assert len(sound_of(data)) == 1600
        return
    with pytest.raises(UnsupportedMedia, match=f"at most 8 channels, got {channels}") as caught:
        sound_of(data)
    assert caught.value.field == FIELD


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("samples", [1, 2, 5])
def test_a_few_samples_are_a_recording_at_any_rate(samples, rate):
    assert len(sound_of(wav(TONE[:samples], rate), 16_000)) == (samples if rate == 16_000 else 0)


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


def test_a_file_is_read_as_it_is_decoded(tmp_path):
    path = tmp_path / "ten minutes.wav"
    path.write_bytes(wav(np.zeros(600 * 16_000, np.int16), 16_000))
    tracemalloc.start()
    with path.open("rb") as file:
        assert claimed_seconds(file) == pytest.approx(600)
        for _ in range(2):  # from its beginning, each time
            assert sum(len(chunk) for chunk in audio_chunks(file, AudioLimits(), FIELD)) == 600 * 16_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000  # of 19


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(bad):
    samples = TONE.copy()
    samples[1000] = bad
    with pytest.raises(InvalidArgument, match="must be finite") as caught:
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
    with pytest.raises(UnsupportedMedia, match="must have an audio track"):
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
        picture("PNG"),
        picture("GIF"),
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
        "from servekit.media.audio import AudioLimits, decode_audio; from servekit.errors import ServeError\n"
        "for data in (b'#EXTM3U\\nfile:///x', b'RIFF' + bytes(99), b'fLaC' + bytes(999), b'\\xff\\xfb' * 900):\n"
        "    try: decode_audio(data, AudioLimits(), 'x')\n"
        "    except ServeError: pass\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, timeout=60, check=True)
    assert ran.stderr == b""
