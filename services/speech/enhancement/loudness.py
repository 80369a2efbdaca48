"""Loudness as people hear it, and how loud a recording may be made without clipping (ITU-R BS.1770-4)."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, sosfilt, upfirdn

from services.speech.enhancement import CLEANING_RATE

# Table 1 and 2 of the recommendation, for 48 kHz: the head's shelf, and the high pass of the revised B curve.
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

# Annex 2: between the samples a signal may be higher than at them. Four times as many, by 12 taps a phase, show it.
OVERSAMPLING = 4
_BETWEEN = (OVERSAMPLING * firwin(12 * OVERSAMPLING + 1, 1 / OVERSAMPLING, window=("kaiser", 5.0))).astype(np.float32)
_HISTORY = 12

PEAK_DB = -1.0  # dBTP that no gain goes beyond, as EBU R 128 has it


class LoudnessMeter:
    """Measures one mono recording as it passes, in flat memory but for ten numbers a second."""

    def __init__(self) -> None:
        self._state = np.zeros((len(_K_WEIGHTING), 2))
        self._rest = np.zeros(0)  # weighted samples of a hop that is not whole yet
        self._hops: list[float] = []  # mean squares
        self._last = np.zeros(_HISTORY, np.float32)
        self.peak = 0.0  # true, 1 is full scale

    def feed(self, samples: NDArray[np.float32]) -> None:
        """The next (samples,) in [-1, 1] at `CLEANING_RATE`."""
        if not len(samples):
            return
        weighted, self._state = sosfilt(_K_WEIGHTING, samples, zi=self._state)
        weighted = np.concatenate([self._rest, weighted])
        whole = len(weighted) // HOP * HOP
        self._rest = weighted[whole:]
        self._hops += np.square(weighted[:whole].reshape(-1, HOP)).mean(axis=1).tolist()
        joined = np.concatenate([self._last, samples])
        self._last = joined[-_HISTORY:]
        self.peak = max(self.peak, float(np.abs(upfirdn(_BETWEEN, joined, up=OVERSAMPLING)).max()))

    def integrated(self, gain_db: float = 0.0) -> float | None:
        """The loudness of all that has passed, in LUFS; None for silence, and for less than 400 ms.

        Args:
            gain_db: By how much louder than it passed.
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
        """By how many dB to raise it to a loudness in LUFS, its peaks no higher than `PEAK_DB`; 0 for silence."""
        loudness = self.integrated()
        if loudness is None:
            return 0.0
        return min(target - loudness, PEAK_DB - 20 * math.log10(self.peak))


def _lufs(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean squares of weighted samples as loudness."""
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-20))
