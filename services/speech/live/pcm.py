"""Raw samples as they come over a wire: bytes of 16-bit PCM in pieces of any length, resampled as a stream."""

import av
import numpy as np
from numpy.typing import NDArray

from servekit.media.audio import pcm_samples
from services.speech.audio import SAMPLE_RATE

SAMPLE_BYTES = 2


class PcmStream:
    """Turns 16-bit little-endian mono PCM into samples at `SAMPLE_RATE`.

    Args:
        rate: The sample rate of the input in hertz.

    Attributes:
        seconds: What has come in.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._odd = b""
        self.seconds = 0.0
        self._resampler: av.AudioResampler | None = None
        if rate != SAMPLE_RATE:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)

    def feed(self, data: bytes) -> NDArray[np.float32]:
        """The samples, (samples,) in [-1, 1], that further bytes give; half a sample waits for its other half."""
        data = self._odd + data
        whole = len(data) - len(data) % SAMPLE_BYTES
        self._odd = data[whole:]
        self.seconds += whole / SAMPLE_BYTES / self._rate
        samples = pcm_samples(data[:whole])
        if self._resampler is None or not len(samples):
            return samples
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
        frame.sample_rate = self._rate
        return _joined(self._resampler.resample(frame))


def _joined(frames: list[av.AudioFrame]) -> NDArray[np.float32]:
    arrays = [frame.to_ndarray().reshape(-1) for frame in frames if frame and frame.samples]
    return np.concatenate([np.zeros(0, np.float32), *arrays], dtype=np.float32).clip(-1.0, 1.0)
