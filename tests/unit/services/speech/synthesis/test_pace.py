"""Silence cut off, tempo changed without the pitch."""

import numpy as np
import pytest

from services.speech.synthesis.pace import TimeStretcher, silence, trimmed

RATE = 24_000


def tone(seconds, pitch=220):
    return (0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize("tempo", [0.25, 0.5, 0.8, 1.5, 3.0, 4.0])
def test_tempo_changes_the_length_and_not_the_pitch(tempo):
    stretcher = TimeStretcher(RATE, tempo)
    sound = tone(3.0)
    paced = np.concatenate([*(stretcher.feed(part) for part in np.split(sound, 6)), stretcher.finish()])
    assert len(paced) == pytest.approx(len(sound) / tempo, rel=0.05)
    assert np.abs(np.fft.rfft(paced)).argmax() * RATE / len(paced) == pytest.approx(220, abs=3)


def test_edges_are_cut_and_the_voice_is_whole():
    sound = np.concatenate([silence(0.5, RATE), tone(1.0), silence(0.5, RATE)])
    assert len(trimmed(sound, RATE)) == pytest.approx(1.06 * RATE, abs=200)
    assert len(trimmed(silence(1.0, RATE), RATE)) == 0


def test_a_text_without_a_sound_has_no_samples_at_any_tempo():
    stretcher = TimeStretcher(RATE, 2.0)
    assert not len(stretcher.feed(np.zeros(0, np.float32)))
    assert len(stretcher.feed(tone(1.0))) + len(stretcher.finish()) == pytest.approx(RATE / 2, rel=0.1)
    alone = TimeStretcher(RATE, 2.0)
    assert not len(alone.feed(np.zeros(0, np.float32)))
    assert not len(alone.finish())
