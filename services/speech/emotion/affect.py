"""An emotion from the sentiment of words and the sound of a voice, where no network hears emotions: a rough rule.

Russell's circumplex ("A circumplex model of affect", 1980) places emotions by valence, how pleasant, and arousal, how
stirred. Valence is the sentiment of the words. Arousal is told by pitch range, level and pace (Scherer, "Vocal
communication of emotion", 2003), each against what is usual. An emotion is the more probable the nearer it lies.
"""

from collections.abc import Iterable, Mapping
from math import exp

from services.speech.emotion.prosody import ProsodyFeatures

# Where each emotion lies: valence and arousal, -1 to 1.
PLACES = {"neutral": (0.0, 0.0), "happy": (0.7, 0.5), "angry": (-0.7, 0.6), "sad": (-0.6, -0.5)}
WIDTH = 0.5  # how far an emotion reaches from its place

# What is usual, and how far from it is stirred.
PITCH_RANGE_SEMITONES = (6.0, 6.0)
LEVEL_DB_ABOVE_OWN = (0.0, 6.0)
WORDS_A_SECOND = (2.5, 1.5)
CHARACTERS_A_SECOND = (4.0, 2.0)


def arousal(sound: ProsodyFeatures, own_level: float, pace: float, *, unspaced: bool) -> float:
    """How stirred a voice sounds, from -1 to 1.

    Args:
        sound: Of the stretch.
        own_level: The usual level of this recording, in dB of full scale: loudness alone tells of the microphone.
        pace: Words a second, or characters where a language writes no spaces; 0 where nothing is said.
    """
    if not sound.pitch:
        return 0.0
    measures = [
        (sound.pitch_range, PITCH_RANGE_SEMITONES),
        (sound.level - own_level, LEVEL_DB_ABOVE_OWN),
    ]
    if pace:
        measures.append((pace, CHARACTERS_A_SECOND if unspaced else WORDS_A_SECOND))
    stirred = [max(-1.0, min(1.0, (value - usual) / spread)) for value, (usual, spread) in measures]
    return sum(stirred) / len(stirred)


def emotions(valence: float, stirred: float) -> dict[str, float]:
    """The probability of each emotion, together 1, the likeliest first."""
    nearness = {
        name: exp(-((valence - place[0]) ** 2 + (stirred - place[1]) ** 2) / (2 * WIDTH**2))
        for name, place in PLACES.items()
    }
    return _ordered({name: near / sum(nearness.values()) for name, near in nearness.items()})


def sentiments(score: float) -> dict[str, float]:
    """The probability of each sentiment for a score of -1 to 1, the likeliest first."""
    return _ordered({"positive": max(0.0, score), "neutral": 1 - abs(score), "negative": max(0.0, -score)})


def together(parts: Iterable[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """The mean of several distributions, each with its weight; none where there are none or they weigh nothing."""
    total: dict[str, float] = {}
    weights = 0.0
    for probabilities, weight in parts:
        weights += weight
        for name, probability in probabilities.items():
            total[name] = total.get(name, 0.0) + probability * weight
    return _ordered({name: value / weights for name, value in total.items()}) if weights else {}


def _ordered(probabilities: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(probabilities.items(), key=lambda entry: -entry[1]))
