import numpy as np
import pytest

from services.speech.emotion.prosody import FLOOR_DB, ProsodyTrack

RATE = 16_000


def voice(pitch, seconds, level=0.1):
    """A buzz with ten harmonics; `pitch` may be an array of one value a sample."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, int(seconds * RATE))) / RATE
    buzz = sum(np.sin(number * phase) / number for number in range(1, 11))
    return (level * buzz).astype(np.float32)


def track(samples, piece=1000):
    found = ProsodyTrack(RATE)
    for start in range(0, len(samples), piece):
        found.feed(samples[start : start + piece])
    return found


@pytest.mark.parametrize("pitch", [80, 120, 210, 330, 450])
def test_the_pitch_of_a_voice(pitch):
    sound = track(voice(pitch, 1.0)).between(0, 1)
    assert sound.pitch == pytest.approx(pitch, rel=0.03)
    assert sound.pitch_range < 0.5


def test_a_rising_voice_has_a_range():
    rising = voice(120 * 2 ** np.linspace(0, 1, 2 * RATE), 2.0)
    sound = track(rising).between(0, 2)
    assert sound.pitch_range == pytest.approx(12 * 0.8, rel=0.1)
    assert sound.pitch == pytest.approx(120 * 2**0.5, rel=0.05)


def test_noise_and_silence_have_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert track(noise).between(0, 1).pitch == 0
    silent = track(np.zeros(RATE, np.float32)).between(0, 1)
    assert (silent.pitch, silent.level) == (0, pytest.approx(FLOOR_DB))


def test_the_level_is_that_of_the_voice():
    sound = track(np.concatenate([voice(150, 1.0), np.zeros(RATE, np.float32)])).between(0, 2)
    assert sound.level == pytest.approx(10 * np.log10(np.mean(voice(150, 1.0) ** 2)), abs=0.5)


def test_a_stretch_is_its_own():
    two = track(np.concatenate([voice(100, 1.0), voice(300, 1.0, level=0.01)]))
    assert two.between(0.1, 0.9).pitch == pytest.approx(100, rel=0.03)
    assert two.between(1.1, 1.9).pitch == pytest.approx(300, rel=0.03)
    assert two.between(0.1, 0.9).level - two.between(1.1, 1.9).level == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("piece", [1, 7, 319, 640, 16_000])
def test_it_does_not_matter_in_what_pieces_it_comes(piece):
    samples = voice(200, 0.5)
    pieces, whole = track(samples, piece).between(0, 0.5), track(samples).between(0, 0.5)
    assert pieces.pitch == pytest.approx(whole.pitch)
    assert pieces.level == pytest.approx(whole.level)


def test_nothing_fed_is_silence():
    assert ProsodyTrack(RATE).between(0, 1).level == FLOOR_DB
