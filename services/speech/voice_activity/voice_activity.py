"""Spans of speech in a stream of audio, by the speech probability of its steps.

Speech starts with a step above the threshold. It ends where steps fall below it by `HYSTERESIS` and stay so for the
minimum silence. Spans are padded; close ones share the silence between them. For a whole recording the result is that
of faster-whisper's `get_speech_timestamps`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.voice_activity import STEP, SpeechDetector

HYSTERESIS = 0.15


@dataclass(frozen=True, slots=True)
class Span:
    """A span of speech, from sample `start` to before sample `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Options of voice activity detection.

    Attributes:
        threshold: The probability from which a step counts as speech, 0 to 1; 0 counts everything as speech.
        min_silence_seconds: The shortest silence that ends a span.
        padding_seconds: The audio kept before and after speech.
    """

    threshold: float = 0.5
    min_silence_seconds: float = 2.0
    padding_seconds: float = 0.4


DEFAULT_VAD_OPTIONS = VadOptions()
MIN_THRESHOLD = 0.01  # lower thresholds count silence as speech


class VoiceActivity:
    """Finds spans of speech in one stream at `SAMPLE_RATE`.

    Args:
        detector: The detector.
        vad_options: The options.
    """

    def __init__(self, detector: SpeechDetector, vad_options: VadOptions) -> None:
        self._probabilities = detector.stream()
        self._enters = vad_options.threshold
        self._leaves = max(vad_options.threshold - HYSTERESIS, min(vad_options.threshold, 0.01))
        self._silence = vad_options.min_silence_seconds * SAMPLE_RATE
        self._padding = int(vad_options.padding_seconds * SAMPLE_RATE)
        self._rest = np.zeros(0, np.float32)
        self._position = 0  # samples with a known probability
        self._begun: int | None = None  # start of the open span, including padding
        self._quiet: int | None = None  # start of the silence in the open span
        self._closed: Span | None = None  # a closed span whose end padding depends on the next one

    @property
    def speaking_since(self) -> int | None:
        """The start of the open span; None where there is none."""
        return self._begun

    @property
    def silent_since(self) -> int | None:
        """The start of the silence at the end of the open span; None where there is none."""
        return self._quiet

    @property
    def undecided(self) -> int:
        """The first sample that a later span may start at; earlier samples are no longer needed."""
        if self._closed:
            return self._closed.start
        return max(0, self._position - self._padding) if self._begun is None else self._begun

    def feed(self, samples: NDArray[np.float32]) -> list[Span]:
        """Add samples, (samples,) in [-1, 1]. Returns the spans that are closed."""
        samples = np.concatenate([self._rest, samples])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        return list(self._process(samples[:whole]))

    def finish(self) -> list[Span]:
        """End the stream. Returns the spans that were open."""
        length = self._position + len(self._rest)  # without the zeros that pad the last step
        spans = list(self._process(np.pad(self._rest, (0, -len(self._rest) % STEP))))
        if self._begun is not None:
            spans.append(Span(self._begun, length))
        elif self._closed:
            spans.append(Span(self._closed.start, min(length, self._closed.end + self._padding)))
        return spans

    def _process(self, samples: NDArray[np.float32]) -> Iterator[Span]:
        for probability in self._probabilities.process(samples.reshape(-1, STEP)).tolist():
            if probability >= self._enters:
                self._quiet = None
                if self._begun is None:
                    yield from self._begin(self._position)
            elif probability < self._leaves and self._begun is not None:
                self._quiet = self._position if self._quiet is None else self._quiet
                if self._position - self._quiet >= self._silence:
                    self._closed, self._begun, self._quiet = Span(self._begun, self._quiet), None, None
            self._position += STEP
            if self._closed and self._position - self._closed.end >= 2 * self._padding:
                yield Span(self._closed.start, self._closed.end + self._padding)
                self._closed = None

    def _begin(self, start: int) -> Iterator[Span]:
        """Open a span at `start`, which shares the silence with a span that closed just before."""
        padding = self._padding
        if self._closed:
            padding = min(padding, (start - self._closed.end) // 2)
            yield Span(self._closed.start, self._closed.end + padding)
            self._closed = None
        self._begun = max(0, start - padding)
