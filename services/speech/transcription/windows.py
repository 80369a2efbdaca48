"""Windows: a recording cut at its silences into clips of speech, none longer than is heard at once.

Several short spans of speech are joined into one clip. Speech without a silence is cut at the quietest moment of a
window's last third.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from services.speech.transcription import LISTENING_RATE, WINDOW_SECONDS
from services.speech.voice_activity.voice_activity import Span, VoiceActivity

LONGEST = int(WINDOW_SECONDS * LISTENING_RATE)
HOP = LISTENING_RATE // 50  # of the loudness that a cut is chosen by
HUSH = 10  # hops: a cut lies in the middle of a quiet fifth of a second


class Clip:
    """Speech of a recording, joined.

    Args:
        spans: Where it lies in the recording, in order.
        samples: (samples,) in [-1, 1] at `LISTENING_RATE`: those of the spans, one after another.
    """

    def __init__(self, spans: list[Span], samples: NDArray[np.float32]) -> None:
        self.spans, self.samples = spans, samples
        self._begins = [0, *accumulate(len(span) for span in spans)]  # of the spans in the clip, and its end

    def place(self, start: float, end: float) -> tuple[float, float]:
        """When in the recording something lasts from `start` to `end` seconds of the clip."""
        first = self._at(bisect_right(self._begins, start * LISTENING_RATE) - 1, start)
        last = self._at(bisect_left(self._begins, end * LISTENING_RATE) - 1, end)
        return first, max(first, last)

    def place_whole(self, start: float, end: float) -> tuple[float, float]:
        """As `place`, for what lies in one span: the one that holds its middle."""
        number = bisect_right(self._begins, (start + end) / 2 * LISTENING_RATE) - 1
        return self._at(number, start), self._at(number, end)

    def _at(self, number: int, seconds: float) -> float:
        number = min(max(number, 0), len(self.spans) - 1)
        span = self.spans[number]
        sample = span.start + seconds * LISTENING_RATE - self._begins[number]
        return min(max(sample, span.start), span.end) / LISTENING_RATE


class WindowCutter:
    """Cuts one recording as it comes; holds a clip and a window of it at most.

    Args:
        activity: Tells its speech from its silence.
    """

    def __init__(self, activity: VoiceActivity) -> None:
        self._activity = activity
        self._tail = np.zeros(0, np.float32)  # the samples that may still be needed
        self._before = 0  # how many came before these
        self._cut = 0  # where speech that goes on was cut last
        self._spans: list[Span] = []  # of the clip that fills
        self._pieces: list[NDArray[np.float32]] = []
        self._filled = 0
        self.heard = 0  # samples that came
        self.speech = 0  # samples of speech that were told

    @property
    def waiting_since(self) -> int:
        """The first sample that may be speech and is in no clip yet."""
        return self._spans[0].start if self._spans else max(self._cut, self._activity.undecided)

    def feed(self, samples: NDArray[np.float32]) -> list[Clip]:
        """Take the next samples, (samples,) in [-1, 1]. Returns the clips that are full."""
        self._tail = np.concatenate([self._tail, samples])
        self.heard += len(samples)
        clips = [clip for span in self._activity.feed(samples) for clip in self._add(span)]
        if (since := self._activity.speaking_since) is not None:
            clips += self._cut_long(since, self.heard)
        needed = max(self._cut, self._activity.undecided)
        self._tail, self._before = self._tail[max(0, needed - self._before) :], max(needed, self._before)
        return clips

    def finish(self) -> list[Clip]:
        """The recording is at its end. Returns the clips that were not full."""
        clips = [clip for span in self._activity.finish() for clip in self._add(span)]
        return [*clips, *self._flush()]

    def _add(self, span: Span) -> Iterator[Clip]:
        yield from self._cut_long(span.start, span.end)
        if span.end > self._cut:  # else it was cut in the silence that turned out to be its end
            yield from self._take(Span(max(span.start, self._cut), span.end))

    def _cut_long(self, start: int, end: int) -> Iterator[Clip]:
        """Take from speech that is too long for one clip what fills some."""
        while end - (begin := max(start, self._cut)) > LONGEST:
            self._cut = begin + _quietest(self._samples(Span(begin, begin + LONGEST)))
            yield from self._take(Span(begin, self._cut))

    def _take(self, span: Span) -> Iterator[Clip]:
        if self._filled + len(span) > LONGEST:
            yield from self._flush()
        self._spans.append(span)
        self._pieces.append(self._samples(span).copy())
        self._filled += len(span)
        self.speech += len(span)

    def _flush(self) -> Iterator[Clip]:
        if self._spans:
            yield Clip(self._spans, np.concatenate(self._pieces))
        self._spans, self._pieces, self._filled = [], [], 0

    def _samples(self, span: Span) -> NDArray[np.float32]:
        return self._tail[span.start - self._before : span.end - self._before]


def _quietest(samples: NDArray[np.float32]) -> int:
    """Where to cut a window's worth of speech: the quietest moment of its last third, the last of several."""
    begin = len(samples) * 2 // 3
    hops = samples[begin:][: (len(samples) - begin) // HOP * HOP].reshape(-1, HOP)
    loudness = np.convolve(np.square(hops).sum(axis=1), np.ones(HUSH), mode="valid")
    quietest = len(loudness) - 1 - int(np.argmin(loudness[::-1]))
    return begin + (quietest * HOP + HUSH * HOP // 2)
