"""A rule that estimates emotions from sentiment and prosody, used where no acoustic model is loaded.

Russell's circumplex ("A circumplex model of affect", 1980) places emotions by valence (pleasant or unpleasant) and
arousal (calm or excited). Valence is the sentiment of the words. Arousal is estimated from pitch range, level and pace
(Scherer, "Vocal communication of emotion", 2003), each relative to its usual value. The probability of an emotion
falls with its distance.
"""

from collections.abc import Iterable, Mapping
from math import exp

from services.speech.emotion.prosody import ProsodyFeatures

# Valence and arousal of each emotion, from -1 to 1.
POINTS = {"neutral": (0.0, 0.0), "happy": (0.7, 0.5), "angry": (-0.7, 0.6), "sad": (-0.6, -0.5)}
WIDTH = 0.5  # the standard deviation of an emotion around its point

# The usual value, and the difference from it that means an arousal of 1.
PITCH_RANGE_SEMITONES = (6.0, 6.0)
LEVEL_DB_ABOVE_USUAL = (0.0, 6.0)
WORDS_PER_SECOND = (2.5, 1.5)
CHARACTERS_PER_SECOND = (4.0, 2.0)


def arousal(prosody: ProsodyFeatures, usual_level: float, pace: float, *, unspaced: bool) -> float:
    """The arousal of a voice, from -1 to 1.

    Args:
        prosody: The prosody of the segment.
        usual_level: The usual level of this recording in dBFS, since the absolute level depends on the microphone.
        pace: Words per second, or characters per second if `unspaced`; 0 without words.
        unspaced: Whether the language is written without spaces.
    """
    if not prosody.pitch:
        return 0.0
    measures = [
        (prosody.pitch_range, PITCH_RANGE_SEMITONES),
        (prosody.level - usual_level, LEVEL_DB_ABOVE_USUAL),
    ]
    if pace:
        measures.append((pace, CHARACTERS_PER_SECOND if unspaced else WORDS_PER_SECOND))
    excitement = [max(-1.0, min(1.0, (value - usual) / spread)) for value, (usual, spread) in measures]
    return sum(excitement) / len(excitement)


def emotions(valence: float, excitement: float) -> dict[str, float]:
    """The probability of each emotion, most probable first; they add up to 1."""
    nearness = {
        name: exp(-((valence - point[0]) ** 2 + (excitement - point[1]) ** 2) / (2 * WIDTH**2))
        for name, point in POINTS.items()
    }
    return _ordered({name: near / sum(nearness.values()) for name, near in nearness.items()})


def sentiments(score: float) -> dict[str, float]:
    """The probability of each sentiment for a score from -1 to 1, most probable first."""
    return _ordered({"positive": max(0.0, score), "neutral": 1 - abs(score), "negative": max(0.0, -score)})


def weighted_mean(parts: Iterable[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """The weighted mean of distributions; empty if there are none or the weights add up to 0."""
    total: dict[str, float] = {}
    weights = 0.0
    for probabilities, weight in parts:
        weights += weight
        for name, probability in probabilities.items():
            total[name] = total.get(name, 0.0) + probability * weight
    return _ordered({name: value / weights for name, value in total.items()}) if weights else {}


def _ordered(probabilities: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(probabilities.items(), key=lambda entry: -entry[1]))
