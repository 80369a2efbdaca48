"""The pace of spoken sound: silence at its edges cut off, its tempo changed without its pitch."""

import av
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

SILENCE = 0.004  # the amplitude below which a voice is silent: -48 dB
EDGE_SECONDS = 0.03  # of silence that stays around a voice, so that no onset is cut
_SLOWEST = 0.5  # of one filter


def trimmed(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """(n,) samples without the silence before and after the voice; nothing where there is no voice."""
    loud = np.flatnonzero(np.abs(samples) > SILENCE)
    if not len(loud):
        return samples[:0]
    edge = int(EDGE_SECONDS * sample_rate)
    return samples[max(0, loud[0] - edge) : loud[-1] + edge]


def silence(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """So much of nothing."""
    return np.zeros(int(seconds * sample_rate), np.float32)


class Stretcher:
    """Speaks samples `tempo` times as fast at the same pitch, as they come: FFmpeg's `atempo` (waveform similarity
    overlap-add).
    """

    def __init__(self, sample_rate: int, tempo: float) -> None:
        self._sample_rate = sample_rate
        self._graph = Graph()
        last = self._graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono", time_base=None)
        while tempo != 1.0:
            step = max(tempo, _SLOWEST)
            filter_ = self._graph.add("atempo", f"{step:.6f}")
            last.link_to(filter_)
            last, tempo = filter_, tempo / step
        last.link_to(self._graph.add("abuffersink"))
        self._graph.configure()

    def feed(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What is ready after the next (n,) samples."""
        mono = np.ascontiguousarray(samples, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
        frame.sample_rate = self._sample_rate
        self._graph.push(frame)
        return self._pull()

    def finish(self) -> NDArray[np.float32]:
        """The rest. Nothing may be fed afterwards."""
        self._graph.push(None)
        return self._pull()

    def _pull(self) -> NDArray[np.float32]:
        pieces = [np.zeros(0, np.float32)]
        while True:
            try:
                pieces.append(np.asarray(self._graph.pull().to_ndarray(), np.float32).reshape(-1))
            except (av.error.EOFError, av.error.BlockingIOError):
                return np.concatenate(pieces)
