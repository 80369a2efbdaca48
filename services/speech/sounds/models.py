"""What is learned of sounds: arrays, how they judge, and the artefact that they are kept as.

An artefact is a safetensors file: arrays, and a header of JSON. Nothing in it is run.
"""

import json
import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from servekit.rpc.errors import FailedPrecondition
from services.speech.sounds.features import FEATURES, FORMAT, LEVEL, SHAPE

Array = NDArray[np.float32]

LOUDER = 0.3  # bels, twice the power: more tells of the microphone, not of the machine

_HEADER_LENGTH = 8  # bytes that say how long the header is


@dataclass(frozen=True, slots=True)
class NormalSounds:
    """Knows what is normal, and tells how far from it a sound is.

    Attributes:
        mean: (features,).
        whitening: (features, directions): what makes normal sounds vary by one in every direction.
        threshold: The score from which a recording is anomalous.
    """

    mean: Array
    whitening: Array
    threshold: float

    def scores(self, features: Array) -> Array:
        """(stretches,): the Mahalanobis distance from the mean, per direction: about 1 where normal.

        A level counts for no farther from the mean than `LOUDER`.
        """
        away = features - self.mean
        away[:, LEVEL] = away[:, LEVEL].clip(-LOUDER, LOUDER)
        return np.asarray(np.sqrt(np.square(away @ self.whitening).mean(axis=1)))

    @staticmethod
    def whole(scores: Array) -> float:
        """The score of a recording of these stretches: the mean of the higher half, or a short fault would drown."""
        return float(np.sort(scores)[len(scores) // 2 :].mean())


@dataclass(frozen=True, slots=True)
class SoundClasses:
    """Knows classes of sounds by their shape, which is alike where machines of one kind are not.

    Attributes:
        labels: Their names.
        weights: (shape features, classes).
        bias: (classes,).
    """

    labels: tuple[str, ...]
    weights: Array
    bias: Array

    def probabilities(self, features: Array) -> Array:
        """(stretches, classes), each row together 1."""
        logits = features[:, -SHAPE:] @ self.weights + self.bias
        grown = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True))


Fitted = NormalSounds | SoundClasses


def dump(fitted: Fitted) -> bytes:
    """The artefact. No two have the same bytes, so that each may be deleted without another."""
    header = {"format": FORMAT, "id": uuid.uuid4().hex}
    if isinstance(fitted, NormalSounds):
        arrays = {"mean": fitted.mean, "whitening": fitted.whitening}
        return _saved(arrays, header | {"threshold": repr(fitted.threshold)})
    arrays = {"weights": fitted.weights, "bias": fitted.bias}
    return _saved(arrays, header | {"labels": json.dumps(fitted.labels)})


def _saved(arrays: dict[str, Array], header: dict[str, str]) -> bytes:
    """The library writes an array as it lies in memory, whatever its order: rows have to lie together."""
    return bytes(save_arrays({name: np.ascontiguousarray(array) for name, array in arrays.items()}, header))


def parse(data: bytes) -> Fitted:
    """What an artefact holds.

    Raises:
        FailedPrecondition: It is damaged, or of another format than this release computes.
    """
    try:
        length = int.from_bytes(data[:_HEADER_LENGTH], "little")
        header = json.loads(data[_HEADER_LENGTH : _HEADER_LENGTH + length])["__metadata__"]
        kept = str(header["format"])
        arrays = load_arrays(data) if kept == FORMAT else {}
        fitted = _fitted(header, arrays) if arrays else None
    except (SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise damaged() from error
    if fitted is None:
        raise FailedPrecondition(
            f"the sound model is of the format {kept[:40]!r}, this release reads {FORMAT!r}: fit it again", field="name"
        )
    return fitted


def damaged() -> FailedPrecondition:
    """What is said of a model that cannot be read."""
    return FailedPrecondition("the sound model is damaged: fit it again", field="name")


def _fitted(header: dict[str, str], arrays: dict[str, Array]) -> Fitted:
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("arrays that are no finite binary32")
    if "labels" in header:
        labels = tuple(str(label) for label in json.loads(header["labels"]))
        if not labels:
            raise ValueError("no classes")
        return SoundClasses(
            labels, _shaped(arrays["weights"], SHAPE, len(labels)), _shaped(arrays["bias"], len(labels))
        )
    threshold = float(header["threshold"])
    whitening = arrays["whitening"]
    if not np.isfinite(threshold) or not whitening.size:
        raise ValueError("no threshold, or no direction")
    return NormalSounds(_shaped(arrays["mean"], FEATURES), _shaped(whitening, FEATURES, whitening.shape[-1]), threshold)


def _shaped(array: Array, *shape: int) -> Array:
    if array.shape != shape:
        raise ValueError(f"an array of {array.shape}, not {shape}")
    return array
