"""The enhancement of one recording as a stream, with measurements.

Loudness normalization and trimming need the whole recording: then the enhanced samples are written to a temporary file
and returned in a second pass. Otherwise they are returned at once.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, lfilter

from servekit.context import CancellationToken
from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE, Enhancer
from services.speech.enhancement.loudness import LoudnessMeter
from services.speech.enhancement.noise import StepPowers
from services.speech.enhancement.trimming import joined, kept
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

# Detects short pauses, without padding: trimming and the noise measurement add their own margins.
ALL_PAUSES = VadOptions(min_silence_seconds=0.1, padding_seconds=0.0)
DECIMATION = CLEANING_RATE // SAMPLE_RATE

_LOW_PASS = firwin(61, 7_200, fs=CLEANING_RATE)

_Samples = NDArray[np.float32]


class Cleaning:
    """Enhances one recording, once. The measurements are complete when the generator of `run` is exhausted.

    Args:
        detector: Detects speech.
        enhancer: Suppresses the noise; None to keep it.
        loudness_lufs: The target loudness; None to keep the loudness.
        trims: Whether silence is removed.

    Attributes:
        length: The length of the recording in samples at `CLEANING_RATE`.
        kept: The spans of the recording that are in the result, in the same unit.
        loudness_before: The loudness in LUFS; None for silence, and for less than 400 ms.
        loudness_after: The same for the result.
        snr_before_db: The signal-to-noise ratio in dB; None without speech or without a pause.
        snr_after_db: The same after noise suppression.
    """

    def __init__(
        self, detector: SpeechDetector, enhancer: Enhancer | None, loudness_lufs: float | None, *, trims: bool
    ) -> None:
        self._detector = detector
        self._enhancer = enhancer
        self._target = loudness_lufs
        self._trims = trims
        self.length = 0
        self.kept: list[Span] = []
        self.loudness_before: float | None = None
        self.loudness_after: float | None = None
        self.snr_before_db: float | None = None
        self.snr_after_db: float | None = None

    def run(self, chunks: Iterable[_Samples], cancellation: CancellationToken) -> Iterator[_Samples]:
        """Enhance the recording.

        Args:
            chunks: The recording, (samples,) in [-1, 1] at `CLEANING_RATE`.
            cancellation: Checked at every chunk.

        Yields:
            The result, (samples,) in [-1, 1] at `CLEANING_RATE`.

        Raises:
            Cancelled, DeadlineExceeded: The request was cancelled.
        """
        before, after, noisy, clean = LoudnessMeter(), LoudnessMeter(), StepPowers(), StepPowers()
        speech_detector = _StreamDetector(self._detector)
        enhanced = _observed(chunks, cancellation, before.feed, noisy.feed)
        if self._enhancer:
            enhanced = self._enhancer.enhance(enhanced, cancellation)
        enhanced = _observed(enhanced, cancellation, clean.feed, speech_detector.feed, self._count)
        if self._target is None and not self._trims:
            yield from _observed(enhanced, cancellation, after.feed)
            speech, gain = speech_detector.finish(), 0.0
            self.kept = [Span(0, self.length)] if self.length else []
        else:
            with tempfile.TemporaryFile() as whole:
                for samples in enhanced:
                    whole.write(samples.tobytes())
                speech = speech_detector.finish()
                self.kept = self._kept(speech, audible=before.integrated() is not None)
                for _ in _observed(joined(whole, self.length, self.kept), cancellation, after.feed):
                    pass
                gain = 0.0 if self._target is None else after.gain_to(self._target)
                factor = np.float32(10 ** (gain / 20))
                for samples in _observed(joined(whole, self.length, self.kept), cancellation):
                    yield samples * factor
        self.loudness_before, self.loudness_after = before.integrated(), after.integrated(gain)
        self.snr_before_db, self.snr_after_db = noisy.snr_db(speech), clean.snr_db(speech)

    def _count(self, samples: _Samples) -> None:
        self.length += len(samples)

    def _kept(self, speech: list[Span], *, audible: bool) -> list[Span]:
        """The spans to keep. An audible recording without speech, such as music, is kept as a whole."""
        whole = [Span(0, self.length)] if self.length else []
        if not self._trims:
            return whole
        return kept(speech, self.length) or (whole if audible else [])


class _StreamDetector:
    """Detects speech in a stream at `CLEANING_RATE`, which is resampled to `SAMPLE_RATE`."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._activity = VoiceActivity(detector, ALL_PAUSES)
        self._state = np.zeros(len(_LOW_PASS) - 1)
        self._skip = 0
        self._spans: list[Span] = []

    def feed(self, samples: _Samples) -> None:
        if not len(samples):
            return
        low, self._state = lfilter(_LOW_PASS, 1.0, samples, zi=self._state)
        self._spans += self._activity.feed(low[self._skip :: DECIMATION].astype(np.float32))
        self._skip = (self._skip - len(samples)) % DECIMATION

    def finish(self) -> list[Span]:
        """The spans of speech in samples at `SAMPLE_RATE`."""
        self._spans += self._activity.finish()
        return self._spans


def _observed(
    chunks: Iterable[_Samples], cancellation: CancellationToken, *observers: Callable[[_Samples], None]
) -> Iterator[_Samples]:
    """Pass chunks on, after each observer was called with them."""
    for samples in chunks:
        cancellation.raise_if_cancelled()
        for observe in observers:
            observe(samples)
        yield samples
