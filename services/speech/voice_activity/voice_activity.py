"""Voice activity: spans of speech in a stream of sound, told as they close.

Speech begins with a step above the threshold. It ends where steps fall below it by `HYSTERESIS` and stay so for the
least silence. Spans are padded, the silence between two near ones shared. On a whole recording this gives what
faster-whisper's `get_speech_timestamps` gives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.speech.transcription import LISTENING_RATE
from services.speech.voice_activity import STEP, SpeechDetector

HYSTERESIS = 0.15


@dataclass(frozen=True, slots=True)
class Span:
    """From sample `start` to before sample `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How speech is told from silence.

    Attributes:
        threshold: The probability from which a step is speech, 0 to 1; 0 takes everything for speech.
        min_silence_seconds: The shortest silence that ends a span.
        padding_seconds: What is kept before and after speech.
    """

    threshold: float = 0.5
    min_silence_seconds: float = 2.0
    padding_seconds: float = 0.4


NORMAL = Sensitivity()
LEAST_THRESHOLD = 0.01  # below it all is speech, silence too, which nobody means who asks for detection


class VoiceActivity:
    """Listens to one stream of samples at `LISTENING_RATE`.

    Args:
        detector: Tells how probable speech is.
        sensitivity: What is made of that.
    """

    def __init__(self, detector: SpeechDetector, sensitivity: Sensitivity) -> None:
        self._listening = detector.listen()
        self._enters = sensitivity.threshold
        self._leaves = max(sensitivity.threshold - HYSTERESIS, min(sensitivity.threshold, 0.01))
        self._silence = sensitivity.min_silence_seconds * LISTENING_RATE
        self._padding = int(sensitivity.padding_seconds * LISTENING_RATE)
        self._rest = np.zeros(0, np.float32)
        self._judged = 0  # samples whose probability is known
        self._begun: int | None = None  # where the speech that goes on begins, padding included
        self._quiet: int | None = None  # since when it may have ended
        self._closed: Span | None = None  # ended, but how much padding it gets depends on what comes

    @property
    def speaking_since(self) -> int | None:
        """Where the span begins that goes on now; None where nobody speaks."""
        return self._begun

    @property
    def silent_since(self) -> int | None:
        """Since when the span that goes on now is silent; None where it is not."""
        return self._quiet

    @property
    def undecided(self) -> int:
        """The first sample that a span yet to be told may begin with: what lies before is no longer needed."""
        if self._closed:
            return self._closed.start
        return max(0, self._judged - self._padding) if self._begun is None else self._begun

    def feed(self, samples: NDArray[np.float32]) -> list[Span]:
        """Listen to the next samples, (samples,) in [-1, 1]. Returns the spans that are closed by now."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        return list(self._judge(samples[:whole]))

    def finish(self) -> list[Span]:
        """The stream is at its end. Returns the spans that were still open."""
        length = self._judged + len(self._rest)  # without the zeros that fill the last step
        spans = list(self._judge(np.pad(self._rest, (0, -len(self._rest) % STEP))))
        if self._begun is not None:
            spans.append(Span(self._begun, length))
        elif self._closed:
            spans.append(Span(self._closed.start, min(length, self._closed.end + self._padding)))
        return spans

    def _judge(self, samples: NDArray[np.float32]) -> Iterator[Span]:
        for probability in self._listening.hear(samples.reshape(-1, STEP)).tolist():
            if probability >= self._enters:
                self._quiet = None
                if self._begun is None:
                    yield from self._begin(self._judged)
            elif probability < self._leaves and self._begun is not None:
                self._quiet = self._judged if self._quiet is None else self._quiet
                if self._judged - self._quiet >= self._silence:
                    self._closed, self._begun, self._quiet = Span(self._begun, self._quiet), None, None
            self._judged += STEP
            if self._closed and self._judged - self._closed.end >= 2 * self._padding:
                yield Span(self._closed.start, self._closed.end + self._padding)
                self._closed = None

    def _begin(self, start: int) -> Iterator[Span]:
        """Speech begins at `start`; a span that closed just before shares the silence between with it."""
        padding = self._padding
        if self._closed:
            padding = min(padding, (start - self._closed.end) // 2)
            yield Span(self._closed.start, self._closed.end + padding)
            self._closed = None
        self._begun = max(0, start - padding)
