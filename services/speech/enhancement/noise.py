"""How much noise there is beside the speech of a recording, told from its pauses."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE
from services.speech.voice_activity.voice_activity import Span

STEP = CLEANING_RATE // 50  # 20 ms
MARGIN = 5  # steps beside speech that are neither: breath, and the room's echo
LEAST = 10  # steps of speech and of pause that can be measured by
RANGE_DB = (-20.0, 60.0)


class StepPowers:
    """The power of a recording, step by step, as it passes: fifty numbers a second are kept."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._powers: list[float] = []

    def feed(self, samples: NDArray[np.float32]) -> None:
        """The next (samples,) at `CLEANING_RATE`."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        self._powers += np.square(samples[:whole].reshape(-1, STEP)).mean(axis=1, dtype=np.float64).tolist()

    def snr_db(self, speech: Sequence[Span]) -> float | None:
        """The power of the speech over that of the noise, in dB; None without speech or without a pause.

        What pauses have is noise, what speech has above that is speech: as the segmental methods do, over the whole.
        Of a cleaned recording it tells what is left in the pauses, not what is left under the words.

        Args:
            speech: Where somebody speaks, in samples at `SAMPLE_RATE`.
        """
        powers = np.array(self._powers)
        spoken, near = np.zeros((2, len(powers)), bool)
        scale = CLEANING_RATE / SAMPLE_RATE / STEP
        for span in speech:
            start, end = int(span.start * scale), math.ceil(span.end * scale)
            spoken[start:end] = True
            near[max(0, start - MARGIN) : end + MARGIN] = True
        if spoken.sum() < LEAST or (~near).sum() < LEAST:
            return None
        noise = float(powers[~near].mean())
        ratio = (float(powers[spoken].mean()) - noise) / max(noise, 1e-20)
        return min(max(10 * math.log10(max(ratio, 1e-20)), RANGE_DB[0]), RANGE_DB[1])
