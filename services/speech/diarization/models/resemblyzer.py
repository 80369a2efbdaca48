"""Resemblyzer's speaker encoder on onnxruntime.

The features are those of the package: the power spectrum of windows of 25 ms every 10 ms in 40 mel bands, without a
logarithm, so the loudness is normalized first. Unlike in the package, stationary noise, which makes all embeddings
similar, is subtracted then.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.errors import TooLarge
from servekit.models.backend import Arrays, TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from services.speech.audio import SAMPLE_RATE
from services.speech.diarization import Embeddings, Partials, SpeakerEncoder
from services.speech.export import network
from services.speech.settings import SpeechSettings

WINDOW = SAMPLE_RATE * 25 // 1000
STEP = SAMPLE_RATE * 10 // 1000
BANDS = 40
FRAMES = 160
TRAINING_LEVEL = 10 ** (-30 / 20)  # the RMS level of partials in training; quieter partials are amplified
SMOOTHING_FRAMES = 10  # the number of frames in a mean, of which the quantile is taken
NOISE_QUANTILE = 0.1  # the quantile that is the noise level
MIN_RESIDUAL = 0.02  # the minimum fraction of the power of a band after subtraction
RUN_PARTIALS = 32  # per run of the network: more are not faster on a CPU, and delay a cancellation


class Resemblyzer:
    """A speaker encoder that batches the partials of different callers.

    Args:
        backend: The network: `mel`, float32 `[batch, frames, 40]`, to `embedding`, float32 `[batch, 256]`.
    """

    partial_samples = FRAMES * STEP
    # Cosine similarities are at least 0.87 for one speaker; for two speakers at most 0.80 without noise, and 0.86 at
    # 10 dB: see docs/explanation/decisions/0010-diarization.md.
    clustering_threshold = 0.84
    verification_threshold = 0.8

    def __init__(self, backend: TensorBackend) -> None:
        self.backend = Bounded(backend)
        self.networks = {"": self.backend}
        self.dimensions = backend.outputs[0].shape[-1]
        self._bands = mel_bands()
        self._shape = np.hanning(WINDOW + 1)[:-1].astype(np.float32)  # periodic

    def warm(self) -> None:
        self.run([self.prepare(np.zeros((1, self.partial_samples), np.float32))], CancellationToken())

    def close(self) -> None:
        self.backend.close()

    def prepare(self, request: Partials) -> NDArray[np.float32]:
        """Compute the features of each partial, float32 `[partials, FRAMES, BANDS]`."""
        level = np.sqrt(np.mean(np.square(request), axis=1, keepdims=True))
        normalized = request * np.maximum(TRAINING_LEVEL / np.maximum(level, 1e-6), 1.0)
        padded = np.pad(normalized, ((0, 0), (WINDOW // 2, WINDOW // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::STEP][:, :FRAMES]
        spectrum = np.fft.rfft(windows * self._shape)
        mel: NDArray[np.float32] = (np.square(np.abs(spectrum)) @ self._bands).astype(np.float32)
        residual: NDArray[np.float32] = np.maximum(mel - _noise(mel), MIN_RESIDUAL * mel)
        return residual

    def run(self, items: Sequence[NDArray[np.float32]], cancellation: CancellationToken) -> Sequence[Embeddings]:
        frames = np.concatenate(items)
        embeddings: list[Embeddings] = []
        for first in range(0, len(frames), RUN_PARTIALS):
            cancellation.raise_if_cancelled()
            outputs = self.backend.infer({"mel": frames[first : first + RUN_PARTIALS]})
            embeddings.append(outputs["embedding"].astype(np.float32))
        return np.split(np.concatenate(embeddings), np.cumsum([len(item) for item in items])[:-1])


def _noise(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The stationary noise of every band, [BANDS]: the 10% quantile of its power (after Martin, 2001)."""
    smooth = mel[:, : FRAMES // SMOOTHING_FRAMES * SMOOTHING_FRAMES].reshape(-1, SMOOTHING_FRAMES, BANDS).mean(axis=1)
    noise: NDArray[np.float32] = np.quantile(smooth, NOISE_QUANTILE, axis=0).astype(np.float32)
    return noise


class Bounded:
    """A backend that rejects long rows, and splits large batches.

    This bounds the memory of a request of the Open Inference Protocol.
    """

    def __init__(self, backend: TensorBackend) -> None:
        self._backend = backend
        self.inputs = backend.inputs
        self.outputs = backend.outputs

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network; see `TensorBackend`.

        Raises:
            TooLarge: A row has more frames than a partial.
        """
        mel = arrays["mel"]
        if mel.shape[1] > FRAMES:
            raise TooLarge(f"inputs.mel must have at most {FRAMES} frames, got {mel.shape[1]}", field="inputs.mel")
        parts = [
            self._backend.infer({"mel": mel[row : row + RUN_PARTIALS]})["embedding"]
            for row in range(0, len(mel), RUN_PARTIALS)
        ]
        return {"embedding": np.concatenate(parts)}

    def close(self) -> None:
        """Free the memory."""
        self._backend.close()


def mel_bands() -> NDArray[np.float32]:
    """The mel filters of Slaney (Auditory Toolbox, 1998) with an area of 1, `[frequencies, BANDS]`."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    edges = _hertz(np.linspace(0.0, _mel(SAMPLE_RATE / 2), BANDS + 2))
    rising = (frequencies[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - frequencies[:, None]) / np.diff(edges)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (edges[2:] - edges[:-2])
    return filters.astype(np.float32)


# Slaney's scale: linear up to 1 kHz, which is 15 mel, then 27 mel for a factor of 6.4.


def _mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + float(np.log(hertz / 1000)) * 27 / np.log(6.4)


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def load(spec: ModelSpec, settings: SpeechSettings) -> SpeakerEncoder:
    """Load the model; the first load creates its ONNX file."""
    return Resemblyzer(OnnxBackend(network(spec.folder(settings.models_dir)), threads=1))
