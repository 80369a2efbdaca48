"""Endpointing: where utterances start and end in a stream, by the speech probability of its steps."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import WINDOW_SECONDS
from services.speech.voice_activity import STEP
from services.speech.voice_activity.voice_activity import HYSTERESIS

START_STEPS = 3  # consecutive steps of speech that start an utterance; fewer may be a click
PAUSE_SECONDS = 0.2  # a silence after which the utterance may be over and is decoded
LONG_SECONDS = 10.0  # an utterance of this length ends at such a pause already
MAX_SECONDS = WINDOW_SECONDS - 1.0  # an utterance without pauses is cut at this length,
CUT_SECONDS = 3.0  # at the step of lowest speech probability in the last seconds

Step = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EndpointingOptions:
    """Options of endpointing.

    Attributes:
        threshold: The probability above which a step is speech.
        end_silence: The seconds of silence that end an utterance.
        padding: The seconds of sound that are committed_prefix before and after its speech.
        manual: Whether everything counts as speech, so that only `commit` and the longest window end an utterance.
    """

    threshold: float = 0.5
    end_silence: float = 0.5
    padding: float = 0.3
    manual: bool = False


@dataclass(eq=False, slots=True)
class Utterance:
    """Speech between two silences. Positions are samples of the stream.

    Attributes:
        number: The number of the utterance, from 0.
        start: The start of the audio, including padding.
        speech_start: The start of the speech.
        speech_end: The end of the speech so far.
        last_speech_at: The time at which that arrived, by `time.monotonic()`.
        ended: Whether the utterance is complete.
        steps: The audio, (`STEP`,) each.
        probabilities: The speech probability of each step.
    """

    number: int
    start: int
    speech_start: int
    speech_end: int
    last_speech_at: float
    ended: bool = False
    steps: list[Step] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The end of the audio so far."""
        return self.start + len(self.steps) * STEP

    @property
    def seconds(self) -> float:
        """The duration so far."""
        return (self.end - self.start) / SAMPLE_RATE

    @property
    def silence(self) -> float:
        """The seconds since the last speech."""
        return (self.end - self.speech_end) / SAMPLE_RATE

    @property
    def pauses(self) -> bool:
        """Whether the utterance may be over."""
        return self.ended or self.silence >= PAUSE_SECONDS

    def sound(self, padding: float) -> NDArray[np.float32]:
        """The samples, (samples,), until `padding` seconds after the last speech."""
        last = self.speech_end + int(padding * SAMPLE_RATE)
        return np.concatenate(self.steps[: ceil((last - self.start) / STEP)])


class Endpointer:
    """Cuts a stream into utterances.

    Attributes:
        position: The samples received so far.
        speech: The samples of speech among them.
    """

    def __init__(self, endpointing: EndpointingOptions) -> None:
        self._endpointing = endpointing
        self._lead: deque[Step] = deque(maxlen=START_STEPS + ceil(endpointing.padding * SAMPLE_RATE / STEP))
        self._voiced = 0  # consecutive steps of speech while there is no utterance
        self._phrase: Utterance | None = None
        self._number = 0
        self._arrived = 0.0
        self.position = 0
        self.speech = 0

    def process(
        self, samples: NDArray[np.float32], probabilities: NDArray[np.float32], arrived: float
    ) -> list[Utterance]:
        """Process the next steps of the stream.

        Args:
            samples: (steps * `STEP`,).
            probabilities: The speech probabilities, (steps,).
            arrived: The time at which the last of them arrived, by `time.monotonic()`.

        Returns:
            The utterances that start. They and the current one are updated in place.
        """
        started: list[Utterance] = []
        # Samples that arrive together were spoken one after another, but not before the previous ones arrived.
        since, self._arrived = arrived - self._arrived, arrived
        for index, probability in enumerate(probabilities.tolist()):
            step = samples[index * STEP : (index + 1) * STEP]
            self.position += STEP
            last_speech_at = arrived - min((len(samples) - (index + 1) * STEP) / SAMPLE_RATE, since)
            if self._phrase is None:
                if utterance := self._begin(step, probability, last_speech_at):
                    started.append(utterance)
            elif rest := self._extend(self._phrase, step, probability, last_speech_at):
                started.append(rest)
        return started

    def commit(self) -> None:
        """End the current utterance, if there is one."""
        if self._phrase is not None:
            self._phrase.ended = True
        self._phrase, self._voiced = None, 0

    def _begin(self, step: Step, probability: float, last_speech_at: float) -> Utterance | None:
        """Start an utterance if there are enough steps of speech."""
        manual = self._endpointing.manual
        self._lead.append(step)
        self._voiced = self._voiced + 1 if probability >= self._endpointing.threshold or manual else 0
        if self._voiced < START_STEPS and not manual:
            return None
        self.speech += self._voiced * STEP
        start = self.position - len(self._lead) * STEP
        speech_start = self.position - self._voiced * STEP
        self._phrase = Utterance(self._number, start, speech_start, self.position, last_speech_at)
        self._phrase.steps.extend(self._lead)
        self._phrase.probabilities.extend([probability] * len(self._lead))
        self._lead.clear()
        self._number += 1
        self._voiced = 0
        return self._phrase

    def _extend(self, utterance: Utterance, step: Step, probability: float, last_speech_at: float) -> Utterance | None:
        """Extend the utterance, and end it where it is over. Returns the rest of an utterance that is cut."""
        limits = self._endpointing
        utterance.steps.append(step)
        utterance.probabilities.append(probability)
        if limits.manual or probability >= limits.threshold - HYSTERESIS:
            utterance.speech_end, utterance.last_speech_at = self.position, last_speech_at
            self.speech += STEP
        enough = min(limits.end_silence, PAUSE_SECONDS) if utterance.seconds >= LONG_SECONDS else limits.end_silence
        if utterance.silence >= enough:
            self._silence(utterance.steps[(utterance.speech_end - utterance.start) // STEP :])
        elif utterance.seconds >= MAX_SECONDS:
            return self._cut(utterance)
        return None

    def _silence(self, steps: Sequence[Step]) -> None:
        """End the current utterance; its silent steps may become padding of the next."""
        self.commit()
        self._lead.extend(steps)

    def _cut(self, utterance: Utterance) -> Utterance | None:
        """Cut an utterance at the step of lowest speech probability in its last seconds. Returns the rest."""
        late = int(CUT_SECONDS * SAMPLE_RATE / STEP)
        keep = len(utterance.steps) - late + int(np.argmin(utterance.probabilities[-late:]))
        start = utterance.start + keep * STEP
        if utterance.speech_end <= start:
            self._silence(utterance.steps[keep:])
            return None
        rest = Utterance(self._number, start, start, utterance.speech_end, utterance.last_speech_at)
        rest.steps, utterance.steps = utterance.steps[keep:], utterance.steps[:keep]
        rest.probabilities, utterance.probabilities = utterance.probabilities[keep:], utterance.probabilities[:keep]
        utterance.speech_end, utterance.ended = start, True
        self._phrase = rest
        self._number += 1
        return rest
