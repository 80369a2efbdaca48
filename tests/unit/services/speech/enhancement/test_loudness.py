import numpy as np
import pyloudnorm
import pytest

from services.speech.enhancement import CLEANING_RATE
from services.speech.enhancement.loudness import PEAK_DB, LoudnessMeter


def tone(seconds=3.0, level_db=-20.0, hertz=997.0, phase=0.0):
    at = np.arange(int(seconds * CLEANING_RATE)) / CLEANING_RATE
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * at + phase)).astype(np.float32)


def measured(samples, step=1000):
    meter = LoudnessMeter()
    for start in range(0, len(samples), step):
        meter.feed(samples[start : start + step])
    return meter


def test_a_full_sine_at_997_hz_has_minus_3_01_lufs():
    """The recommendation's own check."""
    assert measured(tone(level_db=0.0)).integrated() == pytest.approx(-3.01, abs=0.02)


def test_the_gates_leave_pauses_out():
    """As in EBU Tech 3341, test 3: -36, -23 and -36 LUFS one after another are -23."""
    parts = [tone(10, -33.0), tone(60, -20.0), tone(10, -33.0)]
    assert measured(np.concatenate(parts)).integrated() == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("step", [7, 4799, 100_000])
def test_as_pyloudnorm_measures_however_it_is_cut(step):
    random = np.random.default_rng(0)
    seconds = 0.5 if step == 7 else 6.0
    noise = random.standard_normal(int(seconds * CLEANING_RATE)) * 0.1
    samples = (noise * np.linspace(0.01, 1.0, len(noise))).astype(np.float32)
    theirs = pyloudnorm.Meter(CLEANING_RATE, filter_class="DeMan").integrated_loudness(samples.astype(np.float64))
    assert measured(samples, step).integrated() == pytest.approx(theirs, abs=0.05)


def test_silence_and_what_is_short_have_no_loudness_and_get_no_gain():
    for samples in (np.zeros(0), np.zeros(CLEANING_RATE), tone(0.3), np.full(1, 0.5)):
        meter = measured(samples.astype(np.float32))
        assert meter.integrated() is None
        assert meter.gain_to(-16.0) == 0.0


def test_a_gain_brings_it_to_the_target():
    samples = tone(level_db=-40.0)
    gain = measured(samples).gain_to(-20.0)
    assert measured(samples * np.float32(10 ** (gain / 20))).integrated() == pytest.approx(-20.0, abs=0.02)
    assert measured(samples).integrated(gain) == pytest.approx(-20.0, abs=0.02)


def test_a_peak_between_the_samples_counts():
    """A sine of a quarter of the rate whose samples all lie 3 dB below its peaks, as in EBU Tech 3341, test 15."""
    samples = tone(level_db=0.0, hertz=CLEANING_RATE / 4, phase=np.pi / 4)
    assert np.abs(samples).max() == pytest.approx(0.7071, abs=0.001)
    assert 20 * np.log10(measured(samples).peak) == pytest.approx(0.0, abs=0.3)


def test_no_gain_lets_a_peak_clip():
    samples = tone(level_db=-40.0)
    samples[70_000] = 0.5
    meter = measured(samples)
    gain = meter.gain_to(-5.0)
    assert 20 * np.log10(meter.peak) + gain == pytest.approx(PEAK_DB)
    assert gain < 10
