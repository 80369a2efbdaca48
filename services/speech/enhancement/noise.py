"""The signal-to-noise ratio of a recording, estimated from its pauses."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE
from services.speech.voice_activity.voice_activity import Span

STEP = CLEANING_RATE // 50  # 20 ms
MARGIN = 5  # steps around speech that count as neither speech nor noise: breath and reverberation
MIN_STEPS = 10  # the minimum number of steps of speech, and of noise
RANGE_DB = (-20.0, 60.0)


class StepPowers:
    """Measures the power of a stream in steps of 20 ms; keeps fifty numbers per second."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._powers: list[float] = []

    def feed(self, samples: NDArray[np.float32]) -> None:
        """Process the next (samples,) at `CLEANING_RATE`."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        self._powers += np.square(samples[:whole].reshape(-1, STEP)).mean(axis=1, dtype=np.float64).tolist()

    def snr_db(self, speech: Sequence[Span]) -> float | None:
        """The ratio of speech power to noise power in dB; None without speech or without a pause.

        The noise power is that of the pauses; the speech power is that of the speech minus the noise. For an enhanced
        recording, this measures the residual noise in the pauses, not the noise during speech.

        Args:
            speech: The spans of speech in samples at `SAMPLE_RATE`.
        """
        powers = np.array(self._powers)
        spoken, near = np.zeros((2, len(powers)), bool)
        scale = CLEANING_RATE / SAMPLE_RATE / STEP
        for span in speech:
            start, end = int(span.start * scale), math.ceil(span.end * scale)
            spoken[start:end] = True
            near[max(0, start - MARGIN) : end + MARGIN] = True
        if spoken.sum() < MIN_STEPS or (~near).sum() < MIN_STEPS:
            return None
        noise = float(powers[~near].mean())
        ratio = (float(powers[spoken].mean()) - noise) / max(noise, 1e-20)
        return min(max(10 * math.log10(max(ratio, 1e-20)), RANGE_DB[0]), RANGE_DB[1])
