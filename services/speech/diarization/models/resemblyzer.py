"""Resemblyzer's speaker encoder on onnxruntime.

What it hears is made here as the package makes it: the power spectrum of windows of 25 ms every 10 ms, in 40 mel
bands, without a logarithm (so that loudness counts and is evened out first). Steady noise, which makes all embeddings
alike, is then taken out; the package does not do that.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import Arrays, TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import TooLarge
from services.speech.audio import SAMPLE_RATE
from services.speech.diarization import Embeddings, Partials, SpeakerEncoder
from services.speech.export import network
from services.speech.settings import SpeechSettings

WINDOW = SAMPLE_RATE * 25 // 1000
STEP = SAMPLE_RATE * 10 // 1000
BANDS = 40
FRAMES = 160
LOUDNESS = 10 ** (-30 / 20)  # root mean square of a partial that the network was trained on; quieter ones are raised
SMOOTHED = 10  # frames whose mean is taken before the quietest are looked for
QUIETEST = 0.1  # of all, which are taken for noise
LEAST_LEFT = 0.02  # of a band's power, where the noise is taken out
RUN_PARTIALS = (
    32  # in one run of the network: more is no faster on a CPU, and looks at the cancellation token less often
)


class Resemblyzer:
    """Makes mel frames, and runs partials of different callers together.

    Args:
        backend: The network: `mel`, float32 `[batch, frames, 40]`, to `embedding`, float32 `[batch, 256]`.
    """

    partial_samples = FRAMES * STEP
    # In two halves of one speaker's speech it is 0.87 and more; of two speakers 0.80 and less in quiet, 0.86 at 10 dB:
    # docs/explanation/decisions/0010-diarization.md has the measurement.
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
        """What the network hears of each partial, float32 `[partials, FRAMES, BANDS]`."""
        level = np.sqrt(np.mean(np.square(request), axis=1, keepdims=True))
        evened = request * np.maximum(LOUDNESS / np.maximum(level, 1e-6), 1.0)
        padded = np.pad(evened, ((0, 0), (WINDOW // 2, WINDOW // 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::STEP][:, :FRAMES]
        spectrum = np.fft.rfft(windows * self._shape)
        mel: NDArray[np.float32] = (np.square(np.abs(spectrum)) @ self._bands).astype(np.float32)
        left: NDArray[np.float32] = np.maximum(mel - _noise(mel), LEAST_LEFT * mel)
        return left

    def run(self, items: Sequence[NDArray[np.float32]], cancellation: CancellationToken) -> Sequence[Embeddings]:
        frames = np.concatenate(items)
        embeddings: list[Embeddings] = []
        for first in range(0, len(frames), RUN_PARTIALS):
            cancellation.raise_if_cancelled()
            outputs = self.backend.infer({"mel": frames[first : first + RUN_PARTIALS]})
            embeddings.append(outputs["embedding"].astype(np.float32))
        return np.split(np.concatenate(embeddings), np.cumsum([len(item) for item in items])[:-1])


def _noise(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The steady part of every band, [BANDS]: what it falls to for a tenth of the time (after Martin, 2001)."""
    smooth = mel[:, : FRAMES // SMOOTHED * SMOOTHED].reshape(-1, SMOOTHED, BANDS).mean(axis=1)
    noise: NDArray[np.float32] = np.quantile(smooth, QUIETEST, axis=0).astype(np.float32)
    return noise


class Bounded:
    """A speaker encoder that refuses long rows and takes many in parts.

    The memory of a run is then bounded whatever a caller of the Open Inference Protocol sends.
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
            raise TooLarge(f"{mel.shape[1]} frames exceed the {FRAMES} of a partial", field="inputs.mel")
        parts = [
            self._backend.infer({"mel": mel[row : row + RUN_PARTIALS]})["embedding"]
            for row in range(0, len(mel), RUN_PARTIALS)
        ]
        return {"embedding": np.concatenate(parts)}

    def close(self) -> None:
        """Give its memory back."""
        self._backend.close()


def mel_bands() -> NDArray[np.float32]:
    """Slaney's mel filters (Auditory Toolbox, 1998), each of area 1: `[frequencies, BANDS]`."""
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
    """The model in its folder; its ONNX file is made at the first load."""
    return Resemblyzer(OnnxBackend(network(spec.folder(settings.models_dir)), threads=1))
