"""How a voice sounds: its pitch and level, frame by frame, in one pass over a stream of samples.

Pitch by the normalised autocorrelation of Boersma, "Accurate short-term analysis of the fundamental frequency", 1993:
the autocorrelation of a windowed frame over that of the window, its highest peak between 70 and 500 Hz.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME_SECONDS = 0.04  # almost three periods of the lowest voice
HOP_SECONDS = 0.02
LOWEST_HERTZ, HIGHEST_HERTZ = 70.0, 500.0
VOICED = 0.5  # the normalised autocorrelation from which a frame has a pitch
OCTAVE_COST = 0.02  # a peak at half the pitch is as high as the pitch's own: what a higher pitch is preferred by
FLOOR_DB = -80.0


@dataclass(frozen=True, slots=True)
class ProsodyFeatures:
    """How a stretch of a voice sounds.

    Attributes:
        pitch: The median of its voiced frames, in Hz; 0 where none is voiced.
        pitch_range: From the 10th to the 90th percentile of these, in semitones.
        level: The mean power of its voiced frames, or of all where none is, in dB of full scale.
    """

    pitch: float
    pitch_range: float
    level: float


class ProsodyTrack:
    """Pitch and level of what has been fed, two numbers for every 20 ms.

    Args:
        rate: Of the samples, in Hz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._hop = int(HOP_SECONDS * rate)
        self._frame = int(FRAME_SECONDS * rate)
        self._window = np.hanning(self._frame + 2)[1:-1]
        self._lags = np.arange(int(rate / HIGHEST_HERTZ), int(rate / LOWEST_HERTZ) + 1)
        self._size = 1 << int(np.ceil(np.log2(2 * self._frame)))
        of_window = self._autocorrelation(self._window[None])
        self._of_window = (of_window / of_window[:, :1])[:, self._lags]
        self._rest = np.empty(0, np.float32)
        self._pitches: list[NDArray[np.float32]] = []
        self._levels: list[NDArray[np.float32]] = []

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Take in the next samples, (samples,) in [-1, 1]."""
        waiting = np.concatenate([self._rest, samples])
        frames = max(0, 1 + (len(waiting) - self._frame) // self._hop)
        self._rest = waiting[frames * self._hop :]
        if frames:
            view = np.lib.stride_tricks.sliding_window_view(waiting, self._frame)[:: self._hop][:frames]
            self._levels.append(10 * np.log10(np.mean(view**2, axis=1) + 10 ** (FLOOR_DB / 10)))
            self._pitches.append(self._pitch(view))

    def between(self, start: float, end: float) -> ProsodyFeatures:
        """How what was fed sounds from `start` to `end` seconds."""
        pitches, levels = (self._joined(track) for track in (self._pitches, self._levels))
        chosen = slice(int(start / HOP_SECONDS), max(int(start / HOP_SECONDS) + 1, round(end / HOP_SECONDS)))
        pitches, levels = pitches[chosen], levels[chosen]
        voiced = pitches > 0
        if not voiced.any():
            return ProsodyFeatures(0.0, 0.0, _mean_db(levels))
        low, pitch, high = np.percentile(pitches[voiced], [10, 50, 90])
        return ProsodyFeatures(float(pitch), float(12 * np.log2(high / low)), _mean_db(levels[voiced]))

    def _pitch(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The pitch of (frames, samples), in Hz, 0 where there is none: (frames,)."""
        centred = frames - frames.mean(axis=1, keepdims=True)
        correlation = self._autocorrelation(centred * self._window)
        power = np.maximum(correlation[:, :1], 1e-9)
        strength = correlation[:, self._lags] / power / self._of_window
        preferred = strength - OCTAVE_COST * np.log2(self._lags / self._lags[0])
        best = preferred.argmax(axis=1)
        voiced = (strength[np.arange(len(best)), best] >= VOICED) & (power[:, 0] > 1e-6 * self._frame)
        return np.where(voiced, self._rate / self._lags[best], 0.0).astype(np.float32)

    def _autocorrelation(self, frames: NDArray[np.floating]) -> NDArray[np.floating]:
        spectrum = np.fft.rfft(frames, self._size)
        found: NDArray[np.floating] = np.fft.irfft(np.abs(spectrum) ** 2, self._size)
        return found

    @staticmethod
    def _joined(track: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if len(track) > 1:
            track[:] = [np.concatenate(track)]
        return track[0] if track else np.empty(0, np.float32)


def _mean_db(levels: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10)))) if len(levels) else FLOOR_DB
