"""Train anomaly detectors and classifiers from clips of machine sound.

Normal sounds are modelled as a Gaussian, which was the most accurate model on the synthetic set
(docs/how-to/anomaly-detection.md); classes are modelled by a linear discriminant. Both shrink their covariance
(Ledoit and Wolf, 2004), because segments are few and features many. Reported figures are cross-validated over clips.

The training libraries are imported at the first training, because they take seconds and most processes never train.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import InvalidArgument
from services.speech.anomaly.detectors import AnomalyScorer, SoundClassifier
from services.speech.anomaly.features import SHAPE

FOLDS = 5
MIN_CLASS_CLIPS = 3  # clips of each class, for cross-validation
MIN_DEVIATION = 1e-3  # of a feature; constant features would amplify rounding errors

Features = NDArray[np.float32]


def train_scorer(clips: Sequence[Features], false_alarm_rate: float, cancellation: CancellationToken) -> AnomalyScorer:
    """Train a scorer on normal clips.

    The threshold is the limit that the score of one more normal clip stays below with the rate's probability: the
    prediction limit of log-normal scores (Hahn, J. Quality Technology 2, 1970), wider where clips are few, and never
    below what the held-out clips themselves say.

    Args:
        clips: (segments, features) of each, five or more.
        false_alarm_rate: The share of normal clips that may be called anomalous.
        cancellation: Checked before every fold.

    Raises:
        InvalidArgument: The clips are silent.
        Cancelled, DeadlineExceeded: The token was cancelled.
    """
    _check_not_silent(clips)
    scores = np.zeros(len(clips))
    for fold in range(FOLDS):
        cancellation.raise_if_cancelled()
        left = range(fold, len(clips), FOLDS)
        gaussian = _gaussian([clip for number, clip in enumerate(clips) if number % FOLDS != fold])
        for number in left:
            scores[number] = gaussian.whole(gaussian.scores(clips[number]))
    cancellation.raise_if_cancelled()
    model = _gaussian(clips)
    return AnomalyScorer(model.mean, model.whitening, _limit(scores, false_alarm_rate))


def _check_not_silent(clips: Sequence[Features]) -> None:
    """Reject digital silence, from which every sound would be infinitely far."""
    if np.concatenate(clips).std(axis=0).max() < MIN_DEVIATION:
        raise InvalidArgument("the clips must not be silent", field="clips")


def _gaussian(clips: Sequence[Features]) -> AnomalyScorer:
    from sklearn.covariance import LedoitWolf

    features = np.concatenate(clips).astype(np.float64)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), MIN_DEVIATION)
    covariance = LedoitWolf(assume_centered=True).fit((features - mean) / deviation).covariance_
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, MIN_DEVIATION)) / deviation[:, None]
    return AnomalyScorer(mean.astype(np.float32), whitening.astype(np.float32), 0.0)


def _limit(scores: NDArray[np.float64], rate: float) -> float:
    from scipy.stats import t

    predicted = np.log(np.maximum(scores, 1e-6))
    width = t.ppf(1 - rate, len(predicted) - 1) * np.sqrt(1 + 1 / len(predicted))
    return float(max(np.exp(predicted.mean() + width * predicted.std(ddof=1)), np.quantile(scores, 1 - rate)))


def train_classifier(
    clips: Sequence[Features], labels: Sequence[str], cancellation: CancellationToken
) -> tuple[SoundClassifier, float | None]:
    """Train a classifier on labelled clips, with equal class priors.

    Args:
        clips: (segments, features) of each.
        labels: The class of each clip; two classes or more.
        cancellation: Checked before every fold.

    Returns:
        The classes, and the macro F1 over clips that were left out one fold after another; None where a class has
        fewer than `MIN_CLASS_CLIPS`.

    Raises:
        InvalidArgument: The clips are silent.
        Cancelled, DeadlineExceeded: The token was cancelled.
    """
    from sklearn.metrics import f1_score

    _check_not_silent(clips)
    macro_f1 = None
    folds = min(FOLDS, *Counter(labels).values())
    if folds >= MIN_CLASS_CLIPS:
        turns = _stratified(labels, folds)
        predicted = list(labels)
        for fold in range(folds):
            cancellation.raise_if_cancelled()
            kept = [number for number, turn in enumerate(turns) if turn != fold]
            known = _discriminant([clips[number] for number in kept], [labels[number] for number in kept])
            for number in np.flatnonzero(turns == fold).tolist():
                predicted[number] = known.labels[int(known.probabilities(clips[number]).mean(axis=0).argmax())]
        macro_f1 = float(f1_score(labels, predicted, average="macro"))
    cancellation.raise_if_cancelled()
    return _discriminant(clips, labels), macro_f1


def _stratified(labels: Sequence[str], folds: int) -> NDArray[np.int64]:
    """The fold of each clip, stratified by class."""
    seen: Counter[str] = Counter()
    turns = []
    for label in labels:
        turns.append(seen[label] % folds)
        seen[label] += 1
    return np.array(turns)


def _discriminant(clips: Sequence[Features], labels: Sequence[str]) -> SoundClassifier:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features = np.concatenate(clips)[:, -SHAPE:].astype(np.float64)
    own = np.repeat(np.array(labels, dtype=object), [len(clip) for clip in clips]).astype(str)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), MIN_DEVIATION)
    names = sorted(set(labels))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(len(names), 1 / len(names)))
    model.fit((features - mean) / deviation, own)
    weights, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(names) == 2:  # scikit-learn stores the second class only
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    scaled = weights.T / deviation[:, None]
    return SoundClassifier(tuple(names), scaled.astype(np.float32), (bias - mean @ scaled).astype(np.float32))
