"""Windows of speech: a recording is cut at its silences into windows that the model can see at once.

Several short spans of speech share a window. Speech without a silence is cut at the quietest moment of a window's last
third.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import WINDOW_SECONDS
from services.speech.voice_activity.voice_activity import Span, VoiceActivity

MAX_SAMPLES = int(WINDOW_SECONDS * SAMPLE_RATE)
HOP = SAMPLE_RATE // 50  # samples, between two values of loudness
QUIET_HOPS = 10  # a cut lies in the middle of the quietest fifth of a second


class SpeechWindow:
    """The speech of one window.

    Args:
        spans: The spans of the recording that it consists of, in order.
        samples: (samples,) in [-1, 1] at `SAMPLE_RATE`: the samples of the spans, concatenated.
    """

    def __init__(self, spans: list[Span], samples: NDArray[np.float32]) -> None:
        self.spans, self.samples = spans, samples
        self._begins = [0, *accumulate(len(span) for span in spans)]  # of the spans in the window, and its end

    def times(self, start: float, end: float) -> tuple[float, float]:
        """The times in the recording of `start` and `end`, in seconds of the window."""
        first = self._at(bisect_right(self._begins, start * SAMPLE_RATE) - 1, start)
        last = self._at(bisect_left(self._begins, end * SAMPLE_RATE) - 1, end)
        return first, max(first, last)

    def word_times(self, start: float, end: float) -> tuple[float, float]:
        """The times in the recording of a word, which lies in one span: the one that contains its middle."""
        number = bisect_right(self._begins, (start + end) / 2 * SAMPLE_RATE) - 1
        return self._at(number, start), self._at(number, end)

    def _at(self, number: int, seconds: float) -> float:
        number = min(max(number, 0), len(self.spans) - 1)
        span = self.spans[number]
        sample = span.start + seconds * SAMPLE_RATE - self._begins[number]
        return min(max(sample, span.start), span.end) / SAMPLE_RATE


class WindowCutter:
    """Cuts one recording while it is decoded; holds two windows of it at most.

    Args:
        activity: Voice activity detection of the recording.
    """

    def __init__(self, activity: VoiceActivity) -> None:
        self._activity = activity
        self._tail = np.zeros(0, np.float32)  # samples that may still be needed
        self._before = 0  # the number of samples before these
        self._cut = 0  # where ongoing speech was cut last
        self._spans: list[Span] = []  # of the window that is being filled
        self._pieces: list[NDArray[np.float32]] = []
        self._filled = 0
        self.received = 0  # samples received
        self.speech = 0  # samples of speech in windows

    @property
    def waiting_since(self) -> int:
        """The first sample that may be speech and is in no window yet."""
        return self._spans[0].start if self._spans else max(self._cut, self._activity.undecided)

    def feed(self, samples: NDArray[np.float32]) -> list[SpeechWindow]:
        """Add samples, (samples,) in [-1, 1]. Returns the windows that are full."""
        self._tail = np.concatenate([self._tail, samples])
        self.received += len(samples)
        speech_windows = [speech_window for span in self._activity.feed(samples) for speech_window in self._add(span)]
        if (since := self._activity.speaking_since) is not None:
            speech_windows += self._cut_long(since, self.received)
        needed = max(self._cut, self._activity.undecided)
        self._tail, self._before = self._tail[max(0, needed - self._before) :], max(needed, self._before)
        return speech_windows

    def finish(self) -> list[SpeechWindow]:
        """End the recording. Returns the windows that were not full."""
        speech_windows = [speech_window for span in self._activity.finish() for speech_window in self._add(span)]
        return [*speech_windows, *self._flush()]

    def _add(self, span: Span) -> Iterator[SpeechWindow]:
        yield from self._cut_long(span.start, span.end)
        if span.end > self._cut:  # otherwise it was cut in the silence that turned out to end it
            yield from self._take(Span(max(span.start, self._cut), span.end))

    def _cut_long(self, start: int, end: int) -> Iterator[SpeechWindow]:
        """Cut full windows from speech that is too long for one."""
        while end - (begin := max(start, self._cut)) > MAX_SAMPLES:
            self._cut = begin + _quietest(self._samples(Span(begin, begin + MAX_SAMPLES)))
            yield from self._take(Span(begin, self._cut))

    def _take(self, span: Span) -> Iterator[SpeechWindow]:
        if self._filled + len(span) > MAX_SAMPLES:
            yield from self._flush()
        self._spans.append(span)
        self._pieces.append(self._samples(span).copy())
        self._filled += len(span)
        self.speech += len(span)

    def _flush(self) -> Iterator[SpeechWindow]:
        if self._spans:
            yield SpeechWindow(self._spans, np.concatenate(self._pieces))
        self._spans, self._pieces, self._filled = [], [], 0

    def _samples(self, span: Span) -> NDArray[np.float32]:
        return self._tail[span.start - self._before : span.end - self._before]


def _quietest(samples: NDArray[np.float32]) -> int:
    """The index to cut a full window at: the last of the quietest moments of its last third."""
    begin = len(samples) * 2 // 3
    hops = samples[begin:][: (len(samples) - begin) // HOP * HOP].reshape(-1, HOP)
    loudness = np.convolve(np.square(hops).sum(axis=1), np.ones(QUIET_HOPS), mode="valid")
    quietest = len(loudness) - 1 - int(np.argmin(loudness[::-1]))
    return begin + (quietest * HOP + QUIET_HOPS * HOP // 2)
