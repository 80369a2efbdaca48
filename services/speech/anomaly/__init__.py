"""The port of anomalous sound detection: recordings in, features out; features of clips in, a trained detector out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel
from services.speech.anomaly.detectors import AnomalyModel
from services.speech.anomaly.features import SoundFeatures


@dataclass(frozen=True, slots=True)
class SoundInput:
    """A recording to extract features from.

    Attributes:
        chunks: (samples,) in [-1, 1] at `SAMPLE_RATE`, decoded on the engine's thread.
    """

    chunks: Iterable[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Clips to train a detector on.

    Attributes:
        features: (segments, features) of each clip.
        labels: The class of each clip; empty where all clips are normal.
        false_alarm_rate: The target share of normal clips that are reported as anomalous.
    """

    features: Sequence[NDArray[np.float32]]
    labels: Sequence[str]
    false_alarm_rate: float


@dataclass(frozen=True, slots=True)
class TrainedDetector:
    """A trained detector, and the macro F1 of its classes in cross-validation, where it has one."""

    detector: AnomalyModel
    macro_f1: float | None


SoundRequest = SoundInput | TrainingSet
SoundResult = SoundFeatures | TrainedDetector


@runtime_checkable
class SoundAnalyzer(BatchModel[SoundRequest, SoundRequest, SoundResult], Protocol):
    """Extracts features of sounds, and trains detectors on them."""
