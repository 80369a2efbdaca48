"""Enhancers keep the length and the alignment of a recording, and reduce its noise."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled, FailedPrecondition
from servekit.models.catalogue import model
from servekit.ops.settings import default_home
from services.speech.enhancement import CLEANING_RATE
from services.speech.enhancement.models import deepfilter, spectral_gate
from services.speech.settings import SpeechSettings

HOME = Path(os.environ.get("POLYPHONY_HOME", default_home()))


@pytest.fixture(scope="module", params=["deepfilternet3", "spectral-gate"])
def enhancer(request):
    """Missing weights or a missing runtime fail; nothing is skipped."""
    loader = deepfilter if request.param == "deepfilternet3" else spectral_gate
    return loader.load(model(request.param), SpeechSettings(home=HOME))


def voice(seconds=3.0):
    """A voice-like sound: harmonics of a wandering pitch in syllables, with a pause every second."""
    at = np.arange(int(seconds * CLEANING_RATE)) / CLEANING_RATE
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * at)) / CLEANING_RATE
    harmonics = sum(np.sin(k * phase) * np.exp(-((k * 140 - 500) ** 2) / 4e5) for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3 * at), 0, 1) * (at % 1 < 0.7)
    return (0.2 * harmonics * syllables).astype(np.float32)


def noise(samples, level=0.02, seed=0):
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def clean(enhancer, samples, step=1024):
    pieces = enhancer.enhance((samples[at : at + step] for at in range(0, len(samples), step)), CancellationToken())
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20)


def test_noise_goes_and_the_voice_stays_where_it_was(enhancer):
    said = voice()
    heard = said + noise(len(said))
    cleaned = clean(enhancer, heard)
    pause = slice(int(1.75 * CLEANING_RATE), int(1.95 * CLEANING_RATE))
    assert level_db(cleaned[pause]) < level_db(heard[pause]) - 12
    assert level_db(cleaned - said) < level_db(heard - said) - 3
    lags = range(-50, 51)
    matches = [np.dot(cleaned[100:-100], said[100 + lag : len(said) - 100 + lag]) for lag in lags]
    assert lags[int(np.argmax(matches))] == 0


@pytest.mark.parametrize("samples", [0, 1, 481, 9601, 30_000])
def test_as_long_as_it_came_however_it_is_cut(enhancer, samples):
    heard = voice()[:samples] + noise(samples)
    cleaned = clean(enhancer, heard)
    assert len(cleaned) == samples
    assert np.isfinite(cleaned).all()
    np.testing.assert_allclose(clean(enhancer, heard, step=777), cleaned, atol=1e-5)


def test_silence_stays_silence(enhancer):
    assert not clean(enhancer, np.zeros(30_000, np.float32)).any()


def test_a_call_is_not_changed_by_the_one_before(enhancer):
    heard = voice(1.0) + noise(CLEANING_RATE)
    first = clean(enhancer, heard)
    clean(enhancer, noise(CLEANING_RATE, level=0.3, seed=1))
    np.testing.assert_array_equal(clean(enhancer, heard), first)


def test_nobody_waits_any_more(enhancer):
    cancellation = CancellationToken()
    heard = (noise(1024) for _ in range(1000))
    cleaning = enhancer.enhance(heard, cancellation)
    next(cleaning)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(cleaning)
    assert sum(1 for _ in heard) > 900


def test_the_gate_takes_noise_that_grows_and_was_not_there_at_the_beginning():
    enhancer = spectral_gate.SpectralGate()
    quiet, loud = noise(4 * CLEANING_RATE, 0.001), noise(4 * CLEANING_RATE, 0.05, seed=1)
    cleaned = clean(enhancer, np.concatenate([quiet, loud]))
    assert level_db(cleaned[-2 * CLEANING_RATE :]) < level_db(loud) - 15


class Counting:
    """A runtime that counts its states and passes frames on."""

    def __init__(self):
        self.made, self.freed = [], []
        self.df_create = self._of(lambda *_: self.made.append(len(self.made) + 1) or len(self.made))
        self.df_process_frame = self._of(lambda state, given, out: ctypes.memmove(out, given, 4 * deepfilter.FRAME))
        self.df_free = self._of(self.freed.append)

    @staticmethod
    def _of(function):
        class Function:
            def __call__(self, *args):
                return function(*args)

        return Function()


def test_every_state_is_freed_whatever_happens():
    runtime = Counting()
    enhancer = deepfilter.DeepFilter(runtime, Path("weights"))
    clean(enhancer, noise(5000))
    left = enhancer.enhance([noise(5000)] * 2, CancellationToken())
    next(left)
    left.close()
    with pytest.raises(ZeroDivisionError):
        list(enhancer.enhance((noise(1 // 0) for _ in range(1)), CancellationToken()))
    assert runtime.made == runtime.freed == [1, 2, 3]


def test_damaged_weights_are_refused_before_the_runtime_sees_them(tmp_path):
    folder = tmp_path / "models" / "deepfilternet3"
    folder.mkdir(parents=True)
    (folder / deepfilter.WEIGHTS).write_bytes(b"no archive")
    with pytest.raises(FailedPrecondition, match="models pull"):
        deepfilter.load(model("deepfilternet3"), SpeechSettings(home=tmp_path))
