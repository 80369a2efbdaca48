"""An acoustic emotion classifier as one ONNX network: a wav2vec 2.0 or HuBERT with a head over emotions.

For example superb/wav2vec2-large-superb-er (Yang et al., "SUPERB", 2021), as `optimum-cli export onnx --task
audio-classification` writes it: samples in, logits out, the names of the classes in config.json.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import FailedPrecondition
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

MIN_SAMPLES = SAMPLE_RATE // 4  # the network's convolutions need some sound to stand on
MAX_SAMPLES = 30 * SAMPLE_RATE
NAMES = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}  # SUPERB's, written out


class AcousticEmotion:
    """A network and what its classes are called.

    Args:
        backend: Takes `input_values`, float32 (batch, samples); gives `logits`, float32 (batch, classes).
        labels: The classes.
    """

    def __init__(self, backend: TensorBackend, labels: Sequence[str]) -> None:
        self._backend = backend
        self._labels = labels

    def prepare(self, request: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples as wav2vec 2.0 wants them: of mean 0 and variance 1, neither too short nor too long."""
        samples = request[:MAX_SAMPLES]
        normal = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7) if len(samples) else samples
        return np.pad(normal, (0, max(0, MIN_SAMPLES - len(samples)))).astype(np.float32)

    def run(self, items: Sequence[NDArray[np.float32]], cancellation: CancellationToken) -> list[Mapping[str, float]]:
        """One item a run: padding would change what the network hears, for it has no mask."""
        found: list[Mapping[str, float]] = []
        for samples in items:
            cancellation.raise_if_cancelled()
            logits = self._backend.infer({"input_values": samples[None]})["logits"][0].astype(np.float64)
            probabilities = np.exp(logits - logits.max())
            probabilities /= probabilities.sum()
            found.append(dict(zip(self._labels, probabilities.tolist(), strict=True)))
        return found

    def warm(self) -> None:
        self.run([self.prepare(np.zeros(SAMPLE_RATE, np.float32))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def load(spec: ModelSpec, settings: SpeechSettings) -> AcousticEmotion:
    """Load `model.onnx` and `config.json` of the model's folder.

    Raises:
        FailedPrecondition: They are not there, or the configuration names no classes.
    """
    folder = spec.folder(settings.models_dir)
    if not (folder / "model.onnx").is_file():
        command = f"optimum-cli export onnx --task audio-classification --model {spec.origin} {folder}"
        raise FailedPrecondition(f"{spec.id} has no model.onnx; make it with `{command}`")
    return AcousticEmotion(OnnxBackend(folder / "model.onnx", settings.threads, settings.provider), _labels(folder))


def _labels(folder: Path) -> list[str]:
    names = json.loads((folder / "config.json").read_text()).get("id2label")
    if not names:
        raise FailedPrecondition(f"{folder / 'config.json'} names no classes in id2label")
    return [NAMES.get(str(names[key]).lower(), str(names[key]).lower()) for key in sorted(names, key=int)]
