"""The estimate of noise against mixtures that are known."""

import numpy as np
import pytest

from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE
from services.speech.enhancement.noise import RANGE_DB, StepPowers
from services.speech.voice_activity.voice_activity import Span

SPOKEN = [(0.5, 1.7), (2.4, 3.9), (4.3, 5.0)]
SPANS = [Span(int(start * SAMPLE_RATE), int(end * SAMPLE_RATE)) for start, end in SPOKEN]


def mixed(snr_db, hum=False):
    random = np.random.default_rng(0)
    at = np.arange(6 * CLEANING_RATE) / CLEANING_RATE
    voice = sum(np.sin(2 * np.pi * 160 * k * at) / k for k in range(1, 20)) * (1.2 + np.sin(2 * np.pi * 4 * at))
    spoken = np.zeros(len(at), bool)
    for start, end in SPOKEN:
        spoken |= (at >= start) & (at < end)
    voice = np.where(spoken, voice, 0)
    noise = sum(np.sin(2 * np.pi * 50 * k * at + k) for k in range(1, 9)) if hum else random.standard_normal(len(at))
    noise *= np.sqrt(np.mean(voice[spoken] ** 2) / np.mean(noise**2) / 10 ** (snr_db / 10))
    return (0.02 * (voice + noise)).astype(np.float32)


def told(samples, spans=SPANS, step=1000):
    powers = StepPowers()
    for start in range(0, len(samples), step):
        powers.feed(samples[start : start + step])
    return powers.snr_db(spans)


@pytest.mark.parametrize("hum", [False, True])
@pytest.mark.parametrize("snr_db", [-5, 0, 5, 10, 20, 30])
def test_the_snr_of_a_known_mixture_is_estimated_within_two_db(snr_db, hum):
    assert told(mixed(snr_db, hum)) == pytest.approx(snr_db, abs=2.0)


def test_a_detector_that_is_late_by_a_step_or_two_changes_little():
    late = [Span(span.start + 1000, span.end + 1000) for span in SPANS]
    assert told(mixed(10), late) == pytest.approx(10, abs=2.0)


def test_there_is_no_snr_without_speech_or_without_a_pause():
    samples = mixed(10)
    assert told(samples, []) is None
    assert told(samples, [Span(0, 6 * SAMPLE_RATE)]) is None
    assert told(np.zeros(1, np.float32), []) is None


def test_the_ends_of_the_range():
    samples = mixed(10)
    silent_pauses = samples.copy()
    for start, end in ((0, 0.5), (1.7, 2.4), (3.9, 4.3), (5.0, 6.0)):
        silent_pauses[int(start * CLEANING_RATE) : int(end * CLEANING_RATE)] = 0
    assert told(silent_pauses) == RANGE_DB[1]
    assert told(np.where(silent_pauses == 0, 0.5, 0).astype(np.float32)) == RANGE_DB[0]
