"""The port of what writes down speech: a window of sound in, what is said in it out."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel, BatchScheduler
from servekit.scheduling.session import Session

LISTENING_RATE = 16_000
WINDOW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Instructions:
    """How a recording is to be transcribed.

    Attributes:
        language: ISO 639-1 code of what is spoken; empty to have it detected.
        task: Whether to write the words as spoken, or in English.
        prompt: What comes before, or names and terms to expect.
        hotwords: Names and terms to expect anywhere.
        word_times: Whether segments list their words.
        temperature: 0 to 1; 0 takes the likeliest words and, in full windows, samples where these will not do.
        full_window: Whether the network always sees `WINDOW_SECONDS`, as the reference does.
    """

    language: str = ""
    task: Literal["transcribe", "translate"] = "transcribe"
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    word_times: bool = False
    temperature: float = 0.0
    full_window: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """What is heard at once.

    Attributes:
        samples: (samples,) in [-1, 1] at `LISTENING_RATE`, at most `WINDOW_SECONDS` of them.
        instructions: How.
        prefix: The words that the text begins with, because they were said before to be stable.
        text: All the words, where they are known and only their times are wanted; empty where they are not.
        guess: Whether it is heard once and no more, since it will be heard again: what is doubtful is then left out.
        begun: The model's own notes, where it has heard the window and is to hear it on, or once more.
    """

    samples: NDArray[np.float32]
    instructions: Instructions
    prefix: str = ""
    text: str = ""
    guess: bool = False
    begun: Any = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / LISTENING_RATE


@dataclass(frozen=True, slots=True)
class Word:
    """One word, from `start` to `end` seconds, with the model's confidence from 0 to 1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A phrase, from `start` to `end` seconds.

    Attributes:
        text: What is said, without surrounding space.
        mean_log_probability: Of its tokens.
        no_speech_probability: That nobody speaks here, 0 to 1.
        temperature: That it was sampled with.
        compression_ratio: The length of its text over that of the text compressed.
        words: Its words, where they were asked for.
    """

    start: float
    end: float
    text: str
    mean_log_probability: float
    no_speech_probability: float
    temperature: float = 0.0
    compression_ratio: float = 0.0
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """What is said in one window, times from its beginning.

    Attributes:
        language: ISO 639-1, stated or detected; empty where nobody speaks and none was stated.
        language_probability: How sure the detection is; 1 where it was stated.
        segments: In order; none where nobody speaks.
    """

    language: str
    language_probability: float
    segments: tuple[Segment, ...]


@runtime_checkable
class Transcriber(BatchModel[Window, Any, Passage | Window], Protocol):
    """Writes down what is said. Windows of different callers may run together.

    A run hears as much of a window as it can at once. Where that is not all, or will not do, it hands back the window,
    begun, for another run, for which it waits its turn.
    """

    @property
    def batches(self) -> bool:
        """Whether windows that run together take less than one after another, as on a GPU."""

    def check(self, instructions: Instructions) -> None:
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language, or cannot translate, prompt, ...; its field is named.
        """

    def cost(self, window: Window) -> float:
        """What the next run of a window takes, in seconds of sound that the network sees."""


TranscriberScheduler = BatchScheduler[Window, Passage | Window]


async def hear(session: Session[Window, Passage | Window], model: Transcriber, window: Window) -> Passage:
    """Hear a window to its end, in as many runs as that takes.

    Raises:
        ServeError: As `Session.submit`.
    """
    while True:
        outcome = await session.submit(window, model.cost(window))
        if isinstance(outcome, Passage):
            return outcome
        window = outcome
