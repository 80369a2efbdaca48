"""Train anomaly detectors and classifiers from clips of machine sound.

Normal sounds are modelled as a Gaussian, which found faults best of what was tried on the synthetic set
(docs/how-to/anomaly-detection.md); classes are modelled by a linear discriminant. Both shrink their covariance
(Ledoit and Wolf, 2004), because segments are few and features many. Reported figures are cross-validated over clips.

The training libraries are imported at the first training, because they take seconds and most processes never train.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import InvalidArgument
from services.speech.sounds.features import SHAPE
from services.speech.sounds.models import NormalSounds, SoundClasses

FOLDS = 5
LEAST_OF_CLASS = 3  # clips, for a class to be told how well it is known
LEAST_DEVIATION = 1e-3  # a feature that never changes would judge by the last bit

Features = NDArray[np.float32]


def fit_normal(clips: Sequence[Features], false_alarm_rate: float, cancellation: CancellationToken) -> NormalSounds:
    """Learn what is normal.

    The threshold is the limit that the score of one more normal clip stays below with the rate's probability: the
    prediction limit of log-normal scores (Hahn, J. Quality Technology 2, 1970), wider where clips are few, and never
    below what the held-out clips themselves say.

    Args:
        clips: (stretches, features) of each, five or more.
        false_alarm_rate: The share of normal clips that may be called anomalous.
        cancellation token: Looked at before every fold.

    Raises:
        InvalidArgument: The clips are silent.
        Cancelled, DeadlineExceeded: The cancellation token was set.
    """
    _check_heard(clips)
    scores = np.zeros(len(clips))
    for fold in range(FOLDS):
        cancellation.raise_if_cancelled()
        left = range(fold, len(clips), FOLDS)
        gaussian = _gaussian([clip for number, clip in enumerate(clips) if number % FOLDS != fold])
        for number in left:
            scores[number] = gaussian.whole(gaussian.scores(clips[number]))
    cancellation.raise_if_cancelled()
    fitted = _gaussian(clips)
    return NormalSounds(fitted.mean, fitted.whitening, _limit(scores, false_alarm_rate))


def _check_heard(clips: Sequence[Features]) -> None:
    """In digital silence no feature ever changes, and whatever is heard afterwards would be infinitely far from it."""
    if np.concatenate(clips).std(axis=0).max() < LEAST_DEVIATION:
        raise InvalidArgument(
            "the clips are silent, or nothing changes in them: there is nothing to learn", field="clips"
        )


def _gaussian(clips: Sequence[Features]) -> NormalSounds:
    from sklearn.covariance import LedoitWolf

    features = np.concatenate(clips).astype(np.float64)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), LEAST_DEVIATION)
    covariance = LedoitWolf(assume_centered=True).fit((features - mean) / deviation).covariance_
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, LEAST_DEVIATION)) / deviation[:, None]
    return NormalSounds(mean.astype(np.float32), whitening.astype(np.float32), 0.0)


def _limit(scores: NDArray[np.float64], rate: float) -> float:
    from scipy.stats import t

    told = np.log(np.maximum(scores, 1e-6))
    width = t.ppf(1 - rate, len(told) - 1) * np.sqrt(1 + 1 / len(told))
    return float(max(np.exp(told.mean() + width * told.std(ddof=1)), np.quantile(scores, 1 - rate)))


def fit_classes(
    clips: Sequence[Features], labels: Sequence[str], cancellation: CancellationToken
) -> tuple[SoundClasses, float | None]:
    """Learn classes, each as likely as another.

    Args:
        clips: (stretches, features) of each.
        labels: What each is: two classes or more.
        cancellation token: Looked at before every fold.

    Returns:
        The classes, and the macro F1 over clips that were left out one fold after another; None where a class has
        fewer than `LEAST_OF_CLASS`.

    Raises:
        InvalidArgument: The clips are silent.
        Cancelled, DeadlineExceeded: The cancellation token was set.
    """
    from sklearn.metrics import f1_score

    _check_heard(clips)
    macro_f1 = None
    folds = min(FOLDS, *Counter(labels).values())
    if folds >= LEAST_OF_CLASS:
        turns = _stratified(labels, folds)
        told = list(labels)
        for fold in range(folds):
            cancellation.raise_if_cancelled()
            kept = [number for number, turn in enumerate(turns) if turn != fold]
            known = _discriminant([clips[number] for number in kept], [labels[number] for number in kept])
            for number in np.flatnonzero(turns == fold).tolist():
                told[number] = known.labels[int(known.probabilities(clips[number]).mean(axis=0).argmax())]
        macro_f1 = float(f1_score(labels, told, average="macro"))
    cancellation.raise_if_cancelled()
    return _discriminant(clips, labels), macro_f1


def _stratified(labels: Sequence[str], folds: int) -> NDArray[np.int64]:
    """The fold of each clip: those of a class go round."""
    seen: Counter[str] = Counter()
    turns = []
    for label in labels:
        turns.append(seen[label] % folds)
        seen[label] += 1
    return np.array(turns)


def _discriminant(clips: Sequence[Features], labels: Sequence[str]) -> SoundClasses:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    features = np.concatenate(clips)[:, -SHAPE:].astype(np.float64)
    own = np.repeat(np.array(labels, dtype=object), [len(clip) for clip in clips]).astype(str)
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), LEAST_DEVIATION)
    names = sorted(set(labels))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(len(names), 1 / len(names)))
    model.fit((features - mean) / deviation, own)
    weights, bias = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(names) == 2:  # the library keeps the second class alone
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    scaled = weights.T / deviation[:, None]
    return SoundClasses(tuple(names), scaled.astype(np.float32), (bias - mean @ scaled).astype(np.float32))
