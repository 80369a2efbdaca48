"""Silero VAD through ONNX Runtime, as a stream: its memory is carried from one piece of sound to the next.

The network (MIT, https://github.com/snakers4/silero-vad) comes in the wheel of faster-whisper, in a form that takes
many steps at once: each is 512 samples after the last 64 of the step before it.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings

CONTEXT = 64  # samples of the step before that a step begins with
WIDTH = 128  # of the network's memory


class Silero:
    """The network, shared by all streams.

    Args:
        path: Its ONNX file.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def stream(self) -> "SileroProbabilities":
        return SileroProbabilities(self._session)


class SileroProbabilities:
    """What the network remembers of one stream."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._hidden = self._cell = np.zeros((1, 1, WIDTH), np.float32)
        self._context = np.zeros((1, CONTEXT), np.float32)

    def process(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(steps):
            return np.zeros(0, np.float32)
        before = np.concatenate([self._context, steps[:-1, -CONTEXT:]])
        self._context = steps[-1:, -CONTEXT:].copy()
        inputs = {"input": np.concatenate([before, steps], axis=1), "h": self._hidden, "c": self._cell}
        probabilities, self._hidden, self._cell = self._session.run(None, inputs)
        return np.asarray(probabilities, np.float32)


def load(spec: ModelSpec, settings: SpeechSettings) -> Silero:
    """Load the network from the model's folder."""
    return Silero(spec.folder(settings.models_dir) / "silero_vad_v6.onnx")
