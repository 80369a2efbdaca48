import numpy as np
import pytest

from servekit.context import CancellationToken
from servekit.errors import Cancelled
from services.speech.anomaly import features
from services.speech.anomaly.features import FEATURES, extract_features

RATE = 16_000


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


@pytest.mark.parametrize("step", [1, 333, 40_000])
def test_however_it_is_cut(step):
    samples = noise(0.5 if step == 1 else 2.5)
    whole = extract_features([samples], CancellationToken())
    cut = extract_features(
        (samples[start : start + step] for start in range(0, len(samples), step)), CancellationToken()
    )
    np.testing.assert_allclose(cut.features, whole.features, atol=1e-4)
    assert cut.seconds == whole.seconds == len(samples) / RATE


def test_stretches_cover_the_recording_from_its_beginning_to_its_end():
    sound = extract_features([noise(3.4)], CancellationToken())
    assert sound.features.shape == (len(sound.times), FEATURES)
    assert sound.times[0, 0] == 0
    assert sound.times[-1, 1] == pytest.approx(3.4)
    assert (sound.times[1:, 0] == sound.times[:-1, 1]).all()
    assert (np.diff(sound.times) > 0.25).all()
    assert np.diff(sound.times)[:-1] == pytest.approx(1.024)


@pytest.mark.parametrize("samples", [0, 1, 511, 3000])
def test_what_is_too_short_has_no_stretch(samples):
    assert extract_features([noise(1)[:samples]], CancellationToken()).features.shape == (0, FEATURES)


def test_a_tone_shows_in_its_band_and_silence_is_finite():
    at = np.arange(2 * RATE) / RATE
    low, high = (
        extract_features([(0.1 * np.sin(2 * np.pi * hertz * at)).astype(np.float32)], CancellationToken()).features[
            0, :64
        ]
        for hertz in (200, 4000)
    )
    assert low.argmax() < 10
    assert 40 < high.argmax() < 60
    assert np.isfinite(extract_features([np.zeros(2 * RATE, np.float32)], CancellationToken()).features).all()


def test_level_is_one_feature_alone():
    """The same machine nearer by: only the level says so."""
    quiet, loud = (
        extract_features([noise(2)], CancellationToken()).features,
        extract_features([4 * noise(2)], CancellationToken()).features,
    )
    changed = np.abs(loud - quiet).max(axis=0) > 0.02
    assert changed.sum() == 1


def test_feature_extraction_stops_when_it_is_cancelled(monkeypatch):
    cancellation, result = CancellationToken(), []

    def leave(spectra):
        result.append(len(spectra))
        cancellation.cancel()
        return np.zeros(FEATURES, np.float32)

    monkeypatch.setattr(features, "_features", leave)
    with pytest.raises(Cancelled):
        extract_features([noise(60)], cancellation)
    assert len(result) == 1
