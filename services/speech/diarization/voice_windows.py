"""Windows of speech for a speaker encoder, cut while the audio arrives."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.diarization import Partials
from services.speech.voice_activity.voice_activity import Span, VoiceActivity

STEP = SAMPLE_RATE * 4 // 10  # between the centers of two windows


class VoiceWindows:
    """Cuts a window around every `STEP` of speech. Windows extend beyond speech that is shorter than they are.

    Args:
        activity: Voice activity detection of the stream.
        size: The samples of a window.

    Attributes:
        spans: The closed spans of speech.
        centers: The center of every window that was cut, in samples.
        received: The samples received so far.
    """

    def __init__(self, activity: VoiceActivity, size: int) -> None:
        self.spans: list[Span] = []
        self.centers: list[int] = []
        self.received = 0
        self._activity, self._size, self._half = activity, size, size // 2
        self._next = 0  # the earliest middle of a window that is yet to be planned
        self._planned: deque[int] = deque()
        self._kept = np.zeros(self._half, np.float32)  # sound that is still needed, silence before its beginning
        self._offset = -self._half  # where it begins

    def feed(self, samples: NDArray[np.float32]) -> Partials:
        """Take the next samples, (samples,). Returns the windows that are complete, `[windows, size]`."""
        closed = self._activity.feed(samples)
        self._kept = np.concatenate([self._kept, samples])
        self.received += len(samples)
        self._close(closed)
        if self._activity.speaking_since is not None:
            self._plan(self._activity.speaking_since, self._activity.silent_since or self.received)
        windows = self._cut(self.received)
        needed = min([*list(self._planned)[:1], max(self._next, self._activity.undecided)]) - self._half
        self._kept, self._offset = self._kept[max(0, needed - self._offset) :], max(self._offset, needed)
        return windows

    def finish(self) -> Partials:
        """The sound is at its end. Returns the windows that were not complete, silence after them."""
        self._close(self._activity.finish())
        self._kept = np.concatenate([self._kept, np.zeros(self._size, np.float32)])
        return self._cut(self.received + self._half)

    def _close(self, spans: list[Span]) -> None:
        for span in spans:
            if len(span) > 0:
                self._plan(span.start, span.end)
                if self._next <= span.start:  # too short for the middle of a step
                    self._planned.append((span.start + span.end) // 2)
                    self._next = span.end
                self.spans.append(span)

    def _plan(self, start: int, end: int) -> None:
        """Windows around every step from `start` to `end`, those that are planned already left out."""
        middle = max(self._next, start + STEP // 2)
        while middle < end:
            self._planned.append(middle)
            middle += STEP
            self._next = middle

    def _cut(self, until: int) -> Partials:
        return (
            np.stack([*self._complete(until)])
            if self._planned and self._planned[0] + self._half <= until
            else (np.zeros((0, self._size), np.float32))
        )

    def _complete(self, until: int) -> Iterator[NDArray[np.float32]]:
        while self._planned and self._planned[0] + self._half <= until:
            middle = self._planned.popleft()
            begin = middle - self._half - self._offset
            self.centers.append(middle)
            yield self._kept[begin : begin + self._size]
