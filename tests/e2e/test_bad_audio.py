"""Sound without words, heard by the real model: no words are made up."""

import numpy as np
import pytest

from evaluation.speech_set import sound
from evaluation.speech_set.sound import RATE
from servekit.media.audio_encoder import encode_audio
from tests.e2e.clips import TEXTS, clip
from tests.watching import responsive

SECONDS = np.arange(6 * RATE) / RATE


@pytest.fixture(scope="module", autouse=True)
def gateway_responsive(fleet):
    with responsive(fleet.address("gateway", "metrics"), "invalid audio"):
        yield


def music():
    """A chord, struck twice a second."""
    notes = sum(np.sin(2 * np.pi * pitch * SECONDS) for pitch in (261.6, 329.6, 392.0))
    return 0.15 * notes * np.exp(-3 * (SECONDS % 0.5))


@pytest.mark.parametrize(
    "nothing",
    [np.zeros(6 * RATE), np.random.default_rng(0).normal(0, 0.02, 6 * RATE), music(), np.full(6 * RATE, 0.3)],
    ids=["silence", "noise", "music", "an offset"],
)
def test_no_words_are_transcribed_without_speech(client, nothing):
    file = encode_audio(nothing.astype(np.float32), "audio/wav", RATE)
    heard = client.audio.transcriptions.create(model="whisper-1", file=("a.wav", file), response_format="verbose_json")
    assert heard.text == ""
    assert not heard.segments
    assert heard.duration == pytest.approx(6.0)


def test_words_keep_their_times_between_silences(client):
    one, other = clip("garden"), clip("pump")
    pause = sound.silence(8)
    file = encode_audio(np.concatenate([pause, one * 0.6 + 0.2, pause, other]), "audio/mpeg", RATE)
    heard = client.audio.transcriptions.create(
        model="whisper-1",
        file=("a.mp3", file),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    starts = [word.start for word in heard.words]
    begin = 16 + len(one) / RATE
    first = [start for start in starts if 7.8 < start < begin - 8]
    second = [start for start in starts if begin - 0.2 < start < begin + len(other) / RATE]
    assert len(first) + len(second) == len(starts)
    assert len(first) == pytest.approx(len(TEXTS["garden"].split()), abs=1)  # a word between them may be either's
    assert heard.segments[0].start > 7.8
