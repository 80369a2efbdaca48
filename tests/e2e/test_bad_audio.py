"""Sound without words, heard by the real model: no words are made up."""

import numpy as np
import pytest

from servekit.audio import AudioLimits, decode_audio
from servekit.audio_encoder import encode_audio

RATE = 16_000
SECONDS = np.arange(6 * RATE) / RATE


def music():
    """A chord, struck twice a second."""
    notes = sum(np.sin(2 * np.pi * pitch * SECONDS) for pitch in (261.6, 329.6, 392.0))
    return 0.15 * notes * np.exp(-3 * (SECONDS % 0.5))


@pytest.mark.parametrize(
    "sound",
    [np.zeros(6 * RATE), np.random.default_rng(0).normal(0, 0.02, 6 * RATE), music(), np.full(6 * RATE, 0.3)],
    ids=["silence", "noise", "music", "an offset"],
)
def test_where_nobody_speaks_there_are_no_words(client, sound):
    file = encode_audio(sound.astype(np.float32), "audio/wav", RATE)
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", file), response_format="verbose_json")
    assert heard.text == ""
    assert not heard.segments
    assert heard.duration == pytest.approx(6.0)


def test_words_keep_their_times_between_silences(client, question):
    spoken = decode_audio(question, AudioLimits(), "audio", RATE)
    pause = np.zeros(8 * RATE, np.float32)
    file = encode_audio(np.concatenate([pause, spoken * 0.6 + 0.2, pause, spoken]), "audio/mpeg", RATE)
    heard = client.audio.transcriptions.create(
        model="whisper-1",
        file=("a.mp3", file),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    length = len(spoken) / RATE
    starts = [word.start for word in heard.words]
    first = [start for start in starts if 7.5 < start < 8 + length]
    second = [start for start in starts if 15.5 + length < start < 16 + 2 * length]
    assert len(first) + len(second) == len(starts)
    assert min(len(first), len(second)) >= 5
    assert second[0] - first[0] == pytest.approx(8 + length, abs=0.7)
    assert heard.segments[0].start > 7
