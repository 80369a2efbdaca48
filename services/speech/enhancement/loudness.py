"""Perceived loudness and true peak of a recording, by ITU-R BS.1770-4."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, sosfilt, upfirdn

from services.speech.enhancement import CLEANING_RATE

# Tables 1 and 2 of the recommendation, for 48 kHz: a high shelf (head), and a high pass (revised B curve).
_K_WEIGHTING = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)
HOP = CLEANING_RATE // 10
HOPS = 4  # in a gating block of 400 ms, so that blocks overlap by three quarters
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU

# Annex 2: the peak between samples may exceed the samples; it is found by oversampling with 12 taps per phase.
OVERSAMPLING = 4
_INTERPOLATION = (OVERSAMPLING * firwin(12 * OVERSAMPLING + 1, 1 / OVERSAMPLING, window=("kaiser", 5.0))).astype(
    np.float32
)
_HISTORY = 12

PEAK_DB = -1.0  # dBTP, the maximum true peak after a gain, by EBU R 128


class LoudnessMeter:
    """Measures one mono stream; keeps ten numbers per second in memory."""

    def __init__(self) -> None:
        self._state = np.zeros((len(_K_WEIGHTING), 2))
        self._rest = np.zeros(0)  # weighted samples of an incomplete hop
        self._hops: list[float] = []  # the mean square of each hop
        self._last = np.zeros(_HISTORY, np.float32)
        self.peak = 0.0  # the true peak; 1 is full scale

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Process the next (samples,) in [-1, 1] at `CLEANING_RATE`."""
        if not len(samples):
            return
        weighted, self._state = sosfilt(_K_WEIGHTING, samples, zi=self._state)
        weighted = np.concatenate([self._rest, weighted])
        whole = len(weighted) // HOP * HOP
        self._rest = weighted[whole:]
        self._hops += np.square(weighted[:whole].reshape(-1, HOP)).mean(axis=1).tolist()
        joined = np.concatenate([self._last, samples])
        self._last = joined[-_HISTORY:]
        self.peak = max(self.peak, float(np.abs(upfirdn(_INTERPOLATION, joined, up=OVERSAMPLING)).max()))

    def integrated(self, gain_db: float = 0.0) -> float | None:
        """The integrated loudness in LUFS; None for silence, and for less than 400 ms.

        Args:
            gain_db: A gain to apply first.
        """
        if len(self._hops) < HOPS:
            return None
        power = np.convolve(self._hops, np.full(HOPS, 1 / HOPS), mode="valid") * 10 ** (gain_db / 10)
        power = power[_lufs(power) > ABSOLUTE_GATE]
        if not len(power):
            return None
        power = power[_lufs(power) > _lufs(power.mean()) + RELATIVE_GATE]
        return float(_lufs(power.mean()))

    def gain_to(self, target: float) -> float:
        """The gain in dB to a loudness in LUFS, limited to peaks of `PEAK_DB`; 0 for silence."""
        loudness = self.integrated()
        if loudness is None:
            return 0.0
        return min(target - loudness, PEAK_DB - 20 * math.log10(self.peak))


def _lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert mean squares of weighted samples to LUFS."""
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-20))
