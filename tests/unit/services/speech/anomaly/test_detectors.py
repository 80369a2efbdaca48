import numpy as np
import pytest

from services.speech.anomaly.detectors import AnomalyScorer, SoundClassifier, dump, parse
from services.speech.anomaly.features import FEATURES, SHAPE

RANDOM = np.random.default_rng(0)
HEARD = RANDOM.normal(size=(3, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("order", ["C", "F"])
def test_classes_judge_as_before_once_they_were_kept_however_they_lay_in_memory(order):
    weights = RANDOM.normal(size=(SHAPE, 4)).astype(np.float32, order=order)
    classes = SoundClassifier(("a", "b", "c", "d"), weights, RANDOM.normal(size=4).astype(np.float32))
    kept = parse(dump(classes))
    assert isinstance(kept, SoundClassifier)
    assert np.array_equal(kept.probabilities(HEARD), classes.probabilities(HEARD))


@pytest.mark.parametrize("order", ["C", "F"])
def test_normal_sounds_judge_as_before_once_they_were_kept_however_they_lay_in_memory(order):
    whitening = RANDOM.normal(size=(FEATURES, FEATURES)).astype(np.float32, order=order)
    normal = AnomalyScorer(RANDOM.normal(size=FEATURES).astype(np.float32), whitening, 1.5)
    kept = parse(dump(normal))
    assert isinstance(kept, AnomalyScorer)
    assert np.allclose(kept.scores(HEARD), normal.scores(HEARD), rtol=1e-6)
    assert kept.threshold == 1.5
