"""An acoustic emotion classifier as one ONNX network: a wav2vec 2.0 or HuBERT with a head over emotions.

For example superb/wav2vec2-large-superb-er (Yang et al., "SUPERB", 2021), exported by `optimum-cli export onnx --task
audio-classification`: samples in, logits out; config.json names the classes.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import FailedPrecondition
from servekit.models.backend import TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

MIN_SAMPLES = SAMPLE_RATE // 4  # the convolutions of the network need a minimum length
MAX_SAMPLES = 30 * SAMPLE_RATE
NAMES = {"neu": "neutral", "hap": "happy", "ang": "angry", "sad": "sad"}  # SUPERB's abbreviations


class AcousticEmotion:
    """An emotion recognizer with one network.

    Args:
        backend: Takes `input_values`, float32 (batch, samples); gives `logits`, float32 (batch, classes).
        labels: The names of the classes.
    """

    def __init__(self, backend: TensorBackend, labels: Sequence[str]) -> None:
        self._backend = backend
        self._labels = labels

    def prepare(self, request: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalize the samples to mean 0 and variance 1, and pad or cut them to the supported length."""
        samples = request[:MAX_SAMPLES]
        normalized = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7) if len(samples) else samples
        return np.pad(normalized, (0, max(0, MIN_SAMPLES - len(samples)))).astype(np.float32)

    def run(self, items: Sequence[NDArray[np.float32]], cancellation: CancellationToken) -> list[Mapping[str, float]]:
        """Run the items one by one: the network has no attention mask, so padding would change the result."""
        results: list[Mapping[str, float]] = []
        for samples in items:
            cancellation.raise_if_cancelled()
            logits = self._backend.infer({"input_values": samples[None]})["logits"][0].astype(np.float64)
            probabilities = np.exp(logits - logits.max())
            probabilities /= probabilities.sum()
            results.append(dict(zip(self._labels, probabilities.tolist(), strict=True)))
        return results

    def warm(self) -> None:
        self.run([self.prepare(np.zeros(SAMPLE_RATE, np.float32))], CancellationToken())

    def close(self) -> None:
        self._backend.close()


def load(spec: ModelSpec, settings: SpeechSettings) -> AcousticEmotion:
    """Load `model.onnx` and `config.json` from the folder of the model.

    Raises:
        FailedPrecondition: A file is missing, or the configuration names no classes.
    """
    folder = spec.folder(settings.models_dir)
    if not (folder / "model.onnx").is_file():
        command = f"optimum-cli export onnx --task audio-classification --model {spec.origin} {folder}"
        raise FailedPrecondition(f"{spec.id} has no model.onnx; create it with `{command}`")
    return AcousticEmotion(OnnxBackend(folder / "model.onnx", settings.threads, settings.provider), _labels(folder))


def _labels(folder: Path) -> list[str]:
    names = json.loads((folder / "config.json").read_text()).get("id2label")
    if not names:
        raise FailedPrecondition(f"{folder / 'config.json'} must name the classes in id2label")
    return [NAMES.get(str(names[key]).lower(), str(names[key]).lower()) for key in sorted(names, key=int)]
