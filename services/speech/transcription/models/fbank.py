"""Log mel filter banks as Kaldi computes them, which is what Chinese recognisers were trained on.

Povey et al., "The Kaldi Speech Recognition Toolkit", ASRU 2011: frames of 25 ms every 10 ms, the mean taken off,
0.97 of each sample's predecessor subtracted, a Hamming window, the power spectrum under triangles on the mel scale.
"""

import numpy as np
from numpy.typing import NDArray

FRAME, HOP, FFT = 400, 160, 512
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
FULL_SCALE = 1 << 15  # Kaldi reads 16-bit samples as they are


class FilterBank:
    """Turns samples at 16 kHz into mel energies.

    Args:
        bands: How many of them.
        rate: Of the samples, in Hz.
    """

    def __init__(self, bands: int, rate: int = 16_000) -> None:
        self._window = np.hamming(FRAME)
        bins = _mel(np.arange(FFT // 2) * rate / FFT)
        edges = np.linspace(_mel(LOWEST_HZ), _mel(rate / 2), bands + 2)
        left, centre, right = (edges[at : at + bands, None] for at in range(3))
        rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
        self._weights = np.maximum(0.0, np.minimum(rising, falling)).T

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Log energies, (frames, bands), of (samples,) in [-1, 1]; no frame where there is less than one."""
        if len(samples) < FRAME:
            return np.zeros((0, self._weights.shape[1]), np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64) * FULL_SCALE, FRAME)[::HOP]
        frames = frames - frames.mean(axis=1, keepdims=True)
        before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
        spectrum = np.fft.rfft((frames - PREEMPHASIS * before) * self._window, FFT)
        energies = np.square(np.abs(spectrum[:, : FFT // 2])) @ self._weights
        found: NDArray[np.float32] = np.log(np.maximum(energies, np.finfo(np.float32).eps)).astype(np.float32)
        return found


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hertz) / 700.0), np.float64)
