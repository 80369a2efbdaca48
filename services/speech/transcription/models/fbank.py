"""Log mel filter banks as computed by Kaldi, on which Paraformer was trained.

Povey et al., "The Kaldi Speech Recognition Toolkit", ASRU 2011: frames of 25 ms every 10 ms, without their
mean, a preemphasis of 0.97, a Hamming window, and the power spectrum through triangular filters on the mel scale.
"""

import numpy as np
from numpy.typing import NDArray

FRAME, HOP, FFT = 400, 160, 512
PREEMPHASIS = 0.97
MIN_HERTZ = 20.0
FULL_SCALE = 1 << 15  # Kaldi does not scale 16-bit samples


class FilterBank:
    """Computes log mel energies.

    Args:
        bands: The number of mel bands.
        rate: The sample rate in hertz.
    """

    def __init__(self, bands: int, rate: int = 16_000) -> None:
        self._window = np.hamming(FRAME)
        bins = _mel(np.arange(FFT // 2) * rate / FFT)
        edges = np.linspace(_mel(MIN_HERTZ), _mel(rate / 2), bands + 2)
        left, centre, right = (edges[at : at + bands, None] for at in range(3))
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
        self._weights = np.maximum(0.0, np.minimum(rising, falling)).T

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The log energies, (frames, bands), of (samples,) in [-1, 1]; only of complete frames."""
        if len(samples) < FRAME:
            return np.zeros((0, self._weights.shape[1]), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64) * FULL_SCALE, FRAME)[::HOP]
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        spectrum = np.fft.rfft((frames - PREEMPHASIS * before) * self._window, FFT)
        energies = np.square(np.abs(spectrum[:, : FFT // 2])) @ self._weights
        log_energies: NDArray[np.float32] = np.log(np.maximum(energies, np.finfo(np.float32).eps)).astype(np.float32)
        return log_energies


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0), np.float64)
