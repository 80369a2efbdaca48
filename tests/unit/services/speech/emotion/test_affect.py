import pytest

from services.speech.emotion.affect import arousal, emotions, sentiments, weighted_mean
from services.speech.emotion.prosody import ProsodyFeatures

CALM = ProsodyFeatures(pitch=120, pitch_range=2, level=-30)
STIRRED = ProsodyFeatures(pitch=220, pitch_range=14, level=-18)


@pytest.mark.parametrize(
    ("valence", "stirred", "name"), [(0, 0, "neutral"), (0.8, 0.5, "happy"), (-0.8, 0.8, "angry"), (-0.7, -0.7, "sad")]
)
def test_an_emotion_is_likeliest_at_its_place(valence, stirred, name):
    found = emotions(valence, stirred)
    assert next(iter(found)) == name
    assert sum(found.values()) == pytest.approx(1)


def test_range_level_and_pace_stir():
    usual = -24.0
    assert arousal(STIRRED, usual, 4.0, unspaced=False) == pytest.approx(1)
    assert arousal(CALM, usual, 1.0, unspaced=False) < -0.8
    assert arousal(CALM, usual, 4.0, unspaced=True) < arousal(CALM, usual, 4.0, unspaced=False)
    assert arousal(ProsodyFeatures(pitch=0, pitch_range=0, level=-80), usual, 0, unspaced=False) == 0


@pytest.mark.parametrize(("score", "name"), [(0.9, "positive"), (0.0, "neutral"), (-0.9, "negative")])
def test_sentiments(score, name):
    found = sentiments(score)
    assert next(iter(found)) == name
    assert sum(found.values()) == pytest.approx(1)
    assert "-" not in str(found)  # no probability of -0.0


def test_distributions_are_weighted():
    found = weighted_mean([({"a": 1.0}, 3.0), ({"a": 0.0, "b": 1.0}, 1.0)])
    assert found == pytest.approx({"a": 0.75, "b": 0.25})
    assert weighted_mean([]) == weighted_mean([({"a": 1.0}, 0.0)]) == {}
