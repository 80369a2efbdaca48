"""One recording on its way from noisy to clean: bit by bit, and measured as it passes.

A loudness, and what is silence, are known when all of the recording is. Where they are asked for, the cleaned sound
waits in an unnamed temporary file and goes out in a second pass; else it goes out at once.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import firwin, lfilter

from servekit.rpc.context import CancellationToken
from services.speech.audio import SAMPLE_RATE
from services.speech.enhancement import CLEANING_RATE, Enhancer
from services.speech.enhancement.loudness import LoudnessMeter
from services.speech.enhancement.noise import StepPowers
from services.speech.enhancement.trimming import joined, kept
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Span, VadOptions, VoiceActivity

# Every pause counts, and speech gets no padding: what is made of it adds its own.
ALERT = VadOptions(min_silence_seconds=0.1, padding_seconds=0.0)
DECIMATION = CLEANING_RATE // SAMPLE_RATE

_LOW_PASS = firwin(61, 7_200, fs=CLEANING_RATE)

_Samples = NDArray[np.float32]


class Cleaning:
    """Cleans one recording, once. Its figures are there when all of the sound is.

    Args:
        detector: Tells speech from silence.
        enhancer: Takes the noise out; None to leave it.
        loudness_lufs: What to bring it to; None to leave it.
        trims: Whether silence is taken out.

    Attributes:
        length: Of the recording as it came, in samples at `CLEANING_RATE`.
        kept: Which of them are in the result.
        loudness_before: In LUFS; None for silence, and for less than 400 ms.
        loudness_after: The same of the result.
        snr_before_db: The speech over the noise; None without speech or without a pause.
        snr_after_db: The same when the noise is out.
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
        """The result, (samples,) at a time.

        Args:
            chunks: The recording, (samples,) in [-1, 1] at `CLEANING_RATE`.
            cancellation token: Looked at at every chunk.

        Raises:
            Cancelled, DeadlineExceeded: The cancellation token was set.
        """
        before, after, noisy, clean = LoudnessMeter(), LoudnessMeter(), StepPowers(), StepPowers()
        listener = _Listener(self._detector)
        sound = _passing(chunks, cancellation, before.feed, noisy.feed)
        if self._enhancer:
            sound = self._enhancer.enhance(sound, cancellation)
        sound = _passing(sound, cancellation, clean.feed, listener.feed, self._count)
        if self._target is None and not self._trims:
            yield from _passing(sound, cancellation, after.feed)
            speech, gain = listener.finish(), 0.0
            self.kept = [Span(0, self.length)] if self.length else []
        else:
            with tempfile.TemporaryFile() as whole:
                for samples in sound:
                    whole.write(samples.tobytes())
                speech = listener.finish()
                self.kept = self._what_stays(speech, audible=before.integrated() is not None)
                for _ in _passing(joined(whole, self.length, self.kept), cancellation, after.feed):
                    pass
                gain = 0.0 if self._target is None else after.gain_to(self._target)
                factor = np.float32(10 ** (gain / 20))
                for samples in _passing(joined(whole, self.length, self.kept), cancellation):
                    yield samples * factor
        self.loudness_before, self.loudness_after = before.integrated(), after.integrated(gain)
        self.snr_before_db, self.snr_after_db = noisy.snr_db(speech), clean.snr_db(speech)

    def _count(self, samples: _Samples) -> None:
        self.length += len(samples)

    def _what_stays(self, speech: list[Span], *, audible: bool) -> list[Span]:
        """All, unless silence is to go; what is heard and is no speech at all, such as music, is no silence."""
        whole = [Span(0, self.length)] if self.length else []
        if not self._trims:
            return whole
        return kept(speech, self.length) or (whole if audible else [])


class _Listener:
    """Hears speech in what passes at `CLEANING_RATE`. Of three samples the detector gets one."""

    def __init__(self, detector: SpeechDetector) -> None:
        self._activity = VoiceActivity(detector, ALERT)
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
        """Where somebody speaks, in samples at `SAMPLE_RATE`."""
        self._spans += self._activity.finish()
        return self._spans


def _passing(
    sound: Iterable[_Samples], cancellation: CancellationToken, *see: Callable[[_Samples], None]
) -> Iterator[_Samples]:
    """The same sound, seen by others on its way."""
    for samples in sound:
        cancellation.raise_if_cancelled()
        for look in see:
            look(samples)
        yield samples
