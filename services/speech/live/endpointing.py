"""Where phrases begin and end in a stream, by the probability of speech in every step of it."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from services.speech.transcription import LISTENING_RATE, WINDOW_SECONDS
from services.speech.voice_activity import STEP
from services.speech.voice_activity.voice_activity import HYSTERESIS

BEGINNING_STEPS = 3  # so many in a row are speech, and no click
PAUSE_SECONDS = 0.2  # a silence after which a phrase may be over: it is worth decoding
LONG_SECONDS = 10.0  # a phrase of this length ends at such a pause, wherever silence would have to be longer
LONGEST_SECONDS = WINDOW_SECONDS - 1.0  # a phrase without pauses is cut here,
CUT_SECONDS = 3.0  # at the step least like speech of so much before

Step = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """When a phrase begins and ends.

    Attributes:
        threshold: The probability above which a step is speech.
        end_silence: The seconds of silence that end a phrase.
        padding: The seconds of sound that are kept before and after its speech.
        manual: Whether everything counts as speech, so that only `commit` and the longest window end a phrase.
    """

    threshold: float = 0.5
    end_silence: float = 0.5
    padding: float = 0.3
    manual: bool = False


@dataclass(eq=False, slots=True)
class Phrase:
    """What is said between two silences. Positions are samples of the stream.

    Attributes:
        number: From 0.
        start: Where its sound begins, its padding included.
        speech_start: Where its speech begins.
        speech_end: Where its speech ends, so far.
        spoken: When that arrived, by `time.monotonic()`.
        ended: Whether it is complete.
        steps: Its sound, (`STEP`,) each.
        probabilities: Of speech in each step.
    """

    number: int
    start: int
    speech_start: int
    speech_end: int
    spoken: float
    ended: bool = False
    steps: list[Step] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    @property
    def end(self) -> int:
        """Where its sound ends, so far."""
        return self.start + len(self.steps) * STEP

    @property
    def seconds(self) -> float:
        """How long it is, so far."""
        return (self.end - self.start) / LISTENING_RATE

    @property
    def silence(self) -> float:
        """The seconds since its last speech."""
        return (self.end - self.speech_end) / LISTENING_RATE

    @property
    def pauses(self) -> bool:
        """Whether it may be over."""
        return self.ended or self.silence >= PAUSE_SECONDS

    def sound(self, padding: float) -> NDArray[np.float32]:
        """Its samples, (samples,), until `padding` seconds after its last speech."""
        last = self.speech_end + int(padding * LISTENING_RATE)
        return np.concatenate(self.steps[: ceil((last - self.start) / STEP)])


class Endpointer:
    """Cuts a stream into phrases.

    Attributes:
        position: The samples of the stream so far.
        speech: How many of them were speech.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._lead: deque[Step] = deque(maxlen=BEGINNING_STEPS + ceil(endpoints.padding * LISTENING_RATE / STEP))
        self._voiced = 0  # steps of speech in a row, while there is no phrase
        self._phrase: Phrase | None = None
        self._number = 0
        self._arrived = 0.0
        self.position = 0
        self.speech = 0

    def hear(self, samples: NDArray[np.float32], probabilities: NDArray[np.float32], arrived: float) -> list[Phrase]:
        """Go on through the stream.

        Args:
            samples: (steps * `STEP`,).
            probabilities: Of speech, (steps,).
            arrived: When the last of them came, by `time.monotonic()`.

        Returns:
            The phrases that begin; they and the running one grow, and end, by themselves.
        """
        begun: list[Phrase] = []
        # What came at once was spoken over time, but not before what came earlier.
        since, self._arrived = arrived - self._arrived, arrived
        for index, probability in enumerate(probabilities.tolist()):
            step = samples[index * STEP : (index + 1) * STEP]
            self.position += STEP
            spoken = arrived - min((len(samples) - (index + 1) * STEP) / LISTENING_RATE, since)
            if self._phrase is None:
                if phrase := self._begin(step, probability, spoken):
                    begun.append(phrase)
            elif rest := self._go_on(self._phrase, step, probability, spoken):
                begun.append(rest)
        return begun

    def commit(self) -> None:
        """End the running phrase, if there is one."""
        if self._phrase is not None:
            self._phrase.ended = True
        self._phrase, self._voiced = None, 0

    def _begin(self, step: Step, probability: float, spoken: float) -> Phrase | None:
        """Begin a phrase if there has been speech for long enough."""
        manual = self._endpoints.manual
        self._lead.append(step)
        self._voiced = self._voiced + 1 if probability >= self._endpoints.threshold or manual else 0
        if self._voiced < BEGINNING_STEPS and not manual:
            return None
        self.speech += self._voiced * STEP
        start = self.position - len(self._lead) * STEP
        speech_start = self.position - self._voiced * STEP
        self._phrase = Phrase(self._number, start, speech_start, self.position, spoken)
        self._phrase.steps.extend(self._lead)
        self._phrase.probabilities.extend([probability] * len(self._lead))
        self._lead.clear()
        self._number += 1
        self._voiced = 0
        return self._phrase

    def _go_on(self, phrase: Phrase, step: Step, probability: float, spoken: float) -> Phrase | None:
        """Let the phrase grow, and end it where it does; what is left of one that is cut is the next."""
        limits = self._endpoints
        phrase.steps.append(step)
        phrase.probabilities.append(probability)
        if limits.manual or probability >= limits.threshold - HYSTERESIS:
            phrase.speech_end, phrase.spoken = self.position, spoken
            self.speech += STEP
        enough = min(limits.end_silence, PAUSE_SECONDS) if phrase.seconds >= LONG_SECONDS else limits.end_silence
        if phrase.silence >= enough:
            self._silence(phrase.steps[(phrase.speech_end - phrase.start) // STEP :])
        elif phrase.seconds >= LONGEST_SECONDS:
            return self._cut(phrase)
        return None

    def _silence(self, steps: Sequence[Step]) -> None:
        """End the running phrase; what was silent of it may be the padding of the next."""
        self.commit()
        self._lead.extend(steps)

    def _cut(self, phrase: Phrase) -> Phrase | None:
        """End a phrase where it is least like speech of late; the rest is the next one."""
        late = int(CUT_SECONDS * LISTENING_RATE / STEP)
        keep = len(phrase.steps) - late + int(np.argmin(phrase.probabilities[-late:]))
        start = phrase.start + keep * STEP
        if phrase.speech_end <= start:
            self._silence(phrase.steps[keep:])
            return None
        rest = Phrase(self._number, start, start, phrase.speech_end, phrase.spoken)
        rest.steps, phrase.steps = phrase.steps[keep:], phrase.steps[:keep]
        rest.probabilities, phrase.probabilities = phrase.probabilities[keep:], phrase.probabilities[:keep]
        phrase.speech_end, phrase.ended = start, True
        self._phrase = rest
        self._number += 1
        return rest
