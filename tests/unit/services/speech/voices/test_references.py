"""What a voice may be made of, told by the real detector of speech from the voice that a package carries."""

from pathlib import Path

import faster_whisper
import numpy as np
import pytest
from hibari import Hibari as Engine
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument
from servekit.media.audio import AudioLimits, decode_audio
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from services.speech.audio.recording import Recordings
from services.speech.settings import SpeechSettings
from services.speech.voice_activity.models.silero import Silero
from services.speech.voices.references import REFERENCE_RATE, References

WEIGHTS = Path(faster_whisper.__file__).parent / "assets" / "silero_vad_v6.onnx"
TEXT = "Good morning. I agree that this recording of mine is used to speak with, as long as I am asked before."


@pytest.fixture(scope="module")
def spoken():
    """Some seven seconds of a voice, (n,) at 24 kHz."""
    return Engine(threads=1)(TEXT, seed=0)


@pytest.fixture
def references(tmp_path):
    store = ObjectStore(str(tmp_path))
    return References(Recordings(store, SpeechSettings(home=tmp_path)), Silero(WEIGHTS))


def media(samples):
    return Media(inline=encode_audio(np.asarray(samples, np.float32), "audio/flac", 24_000))


async def test_silence_around_the_voice_is_cut_off(references, spoken):
    quiet = np.zeros(5 * 24_000, np.float32)
    read = await references.read(media(np.concatenate([quiet, spoken, quiet])), "reference_audio")
    assert 4.0 < read.seconds < len(spoken) / 24_000 + 0.3
    kept = decode_audio(read.recording, AudioLimits(), "audio", REFERENCE_RATE)
    assert len(kept) / REFERENCE_RATE < len(spoken) / 24_000 + 0.5
    assert np.abs(kept).max() == pytest.approx(np.abs(spoken).max(), abs=0.05)


async def test_a_third_of_a_second_is_too_little(references, spoken):
    start = int(np.flatnonzero(np.abs(spoken) > 0.1)[0])
    with pytest.raises(InvalidArgument, match=r"must have 3 to 30 s of speech, got 0\.\d s"):
        await references.read(media(spoken[start : start + 7200]), "reference_audio")


@pytest.mark.parametrize("level", [0.0, 0.01, 0.3])
async def test_noise_is_no_speech(references, level):
    noise = np.random.default_rng(0).normal(0, level, 8 * 24_000) if level else np.zeros(8 * 24_000)
    with pytest.raises(InvalidArgument, match=r"got [012]\.\d s") as raised:
        await references.read(media(np.clip(noise, -1, 1)), "reference_audio")
    assert raised.value.field == "reference_audio"


async def test_music_is_no_speech(references):
    seconds = np.arange(8 * 24_000) / 24_000
    chord = sum(np.sin(2 * np.pi * pitch * seconds) for pitch in (220, 277, 330)) * 0.2 * (1 + np.sin(8 * seconds)) / 2
    with pytest.raises(InvalidArgument, match=r"got [012]\.\d s"):
        await references.read(media(chord), "reference_audio")
