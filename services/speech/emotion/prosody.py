"""Prosody: the pitch and level of a voice for each frame, in one pass over a stream of samples.

The pitch is correlation by the normalized autocorrelation of Boersma, "Accurate short-term analysis of the fundamental
frequency", 1993: the autocorrelation of a windowed frame, divided by that of the window, has its highest peak between
70 and 500 Hz at the period.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FRAME_SECONDS = 0.04  # almost three periods of the lowest pitch
HOP_SECONDS = 0.02
MIN_PITCH_HERTZ, MAX_PITCH_HERTZ = 70.0, 500.0
MIN_VOICED_CORRELATION = 0.5  # the minimum normalized autocorrelation of a voiced frame
OCTAVE_COST = 0.02  # per octave: half the pitch has an equally high peak, so higher pitches are preferred
FLOOR_DB = -80.0


@dataclass(frozen=True, slots=True)
class ProsodyFeatures:
    """The prosody of a part of a recording.

    Attributes:
        pitch: The median pitch of the voiced frames in hertz; 0 if no frame is voiced.
        pitch_range: From the 10th to the 90th percentile of the pitch, in semitones.
        level: The mean power of the voiced frames, or of all frames if none is voiced, in dBFS.
    """

    pitch: float
    pitch_range: float
    level: float


class ProsodyTrack:
    """Measures the pitch and level of every 20 ms of a stream.

    Args:
        rate: The sample rate in hertz.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._hop = int(HOP_SECONDS * rate)
        self._frame = int(FRAME_SECONDS * rate)
        self._window = np.hanning(self._frame + 2)[1:-1]
        self._lags = np.arange(int(rate / MAX_PITCH_HERTZ), int(rate / MIN_PITCH_HERTZ) + 1)
        self._size = 1 << int(np.ceil(np.log2(2 * self._frame)))
        window_correlation = self._autocorrelation(self._window[None])
        self._window_correlation = (window_correlation / window_correlation[:, :1])[:, self._lags]
        self._rest = np.empty(0, np.float32)
        self._pitches: list[NDArray[np.float32]] = []
        self._levels: list[NDArray[np.float32]] = []

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Process the next samples, (samples,) in [-1, 1]."""
        pending = np.concatenate([self._rest, samples])
        frames = max(0, 1 + (len(pending) - self._frame) // self._hop)
        self._rest = pending[frames * self._hop :]
        if frames:
            view = np.lib.stride_tricks.sliding_window_view(pending, self._frame)[:: self._hop][:frames]
            self._levels.append(10 * np.log10(np.mean(view**2, axis=1) + 10 ** (FLOOR_DB / 10)))
            self._pitches.append(self._pitch(view))

    def between(self, start: float, end: float) -> ProsodyFeatures:
        """The prosody from `start` to `end` seconds of the stream."""
        pitches, levels = (self._joined(track) for track in (self._pitches, self._levels))
        chosen = slice(int(start / HOP_SECONDS), max(int(start / HOP_SECONDS) + 1, round(end / HOP_SECONDS)))
        pitches, levels = pitches[chosen], levels[chosen]
        voiced = pitches > 0
        if not voiced.any():
            return ProsodyFeatures(0.0, 0.0, _mean_db(levels))
        low, pitch, high = np.percentile(pitches[voiced], [10, 50, 90])
        return ProsodyFeatures(float(pitch), float(12 * np.log2(high / low)), _mean_db(levels[voiced]))

    def _pitch(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The pitch in hertz of (frames, samples), as (frames,); 0 for an unvoiced frame."""
        centred = frames - frames.mean(axis=1, keepdims=True)
        correlation = self._autocorrelation(centred * self._window)
        power = np.maximum(correlation[:, :1], 1e-9)
        strength = correlation[:, self._lags] / power / self._window_correlation
        preferred = strength - OCTAVE_COST * np.log2(self._lags / self._lags[0])
        best = preferred.argmax(axis=1)
        voiced = (strength[np.arange(len(best)), best] >= MIN_VOICED_CORRELATION) & (power[:, 0] > 1e-6 * self._frame)
        return np.where(voiced, self._rate / self._lags[best], 0.0).astype(np.float32)

    def _autocorrelation(self, frames: NDArray[np.floating]) -> NDArray[np.floating]:
        spectrum = np.fft.rfft(frames, self._size)
        correlation: NDArray[np.floating] = np.fft.irfft(np.abs(spectrum) ** 2, self._size)
        return correlation

    @staticmethod
    def _joined(track: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if len(track) > 1:
            track[:] = [np.concatenate(track)]
        return track[0] if track else np.empty(0, np.float32)


def _mean_db(levels: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10)))) if len(levels) else FLOOR_DB
