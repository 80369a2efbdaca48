"""Trained anomaly detectors, and the safetensors files that store them."""

import json
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from servekit.echo import cut
from servekit.errors import FailedPrecondition
from services.speech.anomaly.features import FEATURES, FORMAT, LEVEL, SHAPE

Array = NDArray[np.float32]

MAX_LEVEL_DIFFERENCE = 0.3  # bels, a factor of two in power: a larger difference comes from the microphone

_HEADER_LENGTH = 8  # bytes that say how long the header is


@dataclass(frozen=True, slots=True)
class AnomalyScorer:
    """Scores the distance of sounds from the normal ones.

    Attributes:
        mean: (features,).
        whitening: (features, directions), which scales normal sounds to unit variance.
        threshold: The score from which a recording is anomalous.
    """

    mean: Array
    whitening: Array
    threshold: float

    def scores(self, features: Array) -> Array:
        """(segments,): the Mahalanobis distance from the mean, per direction: about 1 where normal.

        The difference in level is clipped to `MAX_LEVEL_DIFFERENCE`.
        """
        away = features - self.mean
        away[:, LEVEL] = away[:, LEVEL].clip(-MAX_LEVEL_DIFFERENCE, MAX_LEVEL_DIFFERENCE)
        return np.asarray(np.sqrt(np.square(away @ self.whitening).mean(axis=1)))

    @staticmethod
    def whole(scores: Array) -> float:
        """The score of a recording: the mean of the higher half of its segments, so that short faults count."""
        return float(np.sort(scores)[len(scores) // 2 :].mean())


@dataclass(frozen=True, slots=True)
class SoundClassifier:
    """Classifies sounds by the shape features, which transfer between machines of one kind.

    Attributes:
        labels: The names of the classes.
        weights: (shape features, classes).
        bias: (classes,).
    """

    labels: tuple[str, ...]
    weights: Array
    bias: Array

    def probabilities(self, features: Array) -> Array:
        """(segments, classes), each row together 1."""
        logits = features[:, -SHAPE:] @ self.weights + self.bias
        grown = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))


AnomalyModel = AnomalyScorer | SoundClassifier


def dump(model: AnomalyModel) -> bytes:
    """The artefact. No two have the same bytes, so that each may be deleted without another."""
    header = {"format": FORMAT, "id": uuid.uuid4().hex}
    if isinstance(model, AnomalyScorer):
        arrays = {"mean": model.mean, "whitening": model.whitening}
        return _saved(arrays, header | {"threshold": repr(model.threshold)})
    arrays = {"weights": model.weights, "bias": model.bias}
    return _saved(arrays, header | {"labels": json.dumps(model.labels)})


def _saved(arrays: dict[str, Array], header: dict[str, str]) -> bytes:
    """The library writes an array as it lies in memory, whatever its order: rows have to lie together."""
    return bytes(save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header))


def parse(data: bytes) -> AnomalyModel:
    """The model in an artefact.

    Raises:
        FailedPrecondition: It is damaged, or of another format than this release computes.
    """
    try:
        length = int.from_bytes(data[:_HEADER_LENGTH], "little")
        header = json.loads(data[_HEADER_LENGTH : _HEADER_LENGTH + length])["__metadata__"]
        kept = str(header["format"])
        arrays = load_arrays(data) if kept == FORMAT else {}
        model = _fitted(header, arrays) if arrays else None
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged() from error
    if model is None:
        raise FailedPrecondition(
            f"the sound model is of the format {cut(kept)!r}, this release reads {FORMAT!r}: fit it again", field="name"
        )
    return model


def damaged() -> FailedPrecondition:
    """The error for a model that cannot be read."""
    return FailedPrecondition("the sound model is damaged: fit it again", field="name")


def _fitted(header: dict[str, str], arrays: dict[str, Array]) -> AnomalyModel:
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("arrays that are no finite binary32")
    if "labels" in header:
        labels = tuple(str(label) for label in json.loads(header["labels"]))
        if not labels:
            raise ValueError("no classes")
        return SoundClassifier(
            labels, _shaped(arrays["weights"], SHAPE, len(labels)), _shaped(arrays["bias"], len(labels))
        )
    threshold = float(header["threshold"])
    whitening = arrays["whitening"]
    if not np.isfinite(threshold) or not whitening.size:
        raise ValueError("no threshold, or no direction")
    return AnomalyScorer(
        _shaped(arrays["mean"], FEATURES), _shaped(whitening, FEATURES, whitening.shape[-1]), threshold
    )


def _shaped(array: Array, *shape: int) -> Array:
    if array.shape != shape:
        raise ValueError(f"an array of {array.shape}, not {shape}")
    return array
