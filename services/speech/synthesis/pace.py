"""Trimming of silence, and time stretching at constant pitch."""

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

SILENCE = 0.004  # the maximum amplitude of silence: -48 dB
EDGE_SECONDS = 0.03  # of silence that is kept around speech, so that no onset is cut
_MIN_TEMPO = 0.5  # the minimum tempo of one filter


def trimmed(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """(samples,) without the silence before and after speech; empty without speech."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    if not len(loud):
        return samples[:0]
    edge = int(EDGE_SECONDS * sample_rate)
    return samples[max(0, loud[0] - edge) : loud[-1] + edge]


def silence(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Silence of a duration."""
    return np.zeros(int(seconds * sample_rate), np.float32)


class TimeStretcher:
    """Changes the tempo of a stream at constant pitch, by FFmpeg's `atempo` (waveform similarity overlap-add).

    Args:
        sample_rate: The sample rate in hertz.
        tempo: The factor of the tempo; above 1 is faster.
    """

    def __init__(self, sample_rate: int, tempo: float) -> None:
        self._sample_rate = sample_rate
        self._graph = Graph()
        last = self._graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono", time_base=None)
        while tempo != 1.0:
            step = max(tempo, _MIN_TEMPO)
            filter_ = self._graph.add("atempo", f"{step:.6f}")
            last.link_to(filter_)
            last, tempo = filter_, tempo / step
        last.link_to(self._graph.add("abuffersink"))
        self._graph.configure()

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Process the next (samples,), none for a text without a sound, and return the output that is ready."""
        if not len(samples):  # FFmpeg takes no empty frame
            return np.zeros(0, np.float32)
        mono = np.ascontiguousarray(samples, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
        frame.sample_rate = self._sample_rate
        self._graph.push(frame)
        return self._pull()

    def finish(self) -> NDArray[np.float32]:
        """End the stream, and return the remaining output."""
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> NDArray[np.float32]:
        pieces = [np.zeros(0, np.float32)]
        while True:
            try:
                pieces.append(np.asarray(self._graph.pull().to_ndarray(), np.float32).reshape(-1))
            except (av.error.EOFError, av.error.BlockingIOError):
                return np.concatenate(pieces)
