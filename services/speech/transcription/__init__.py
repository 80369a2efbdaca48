"""The port of speech recognition: a window of audio in, its transcript out."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.scheduling.batch import BatchModel, BatchScheduler
from servekit.scheduling.session import Session
from services.speech.audio import SAMPLE_RATE

WINDOW_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class TranscriptionOptions:
    """Options of a transcription.

    Attributes:
        language: The spoken language as an ISO 639-1 code; empty to detect it.
        task: Whether to transcribe, or to translate into English.
        prompt: Preceding text, or names and terms to expect.
        hotwords: Names and terms to expect anywhere.
        word_times: Whether segments list their words.
        temperature: The sampling temperature, 0 to 1. At 0 the most likely words are taken; in full windows the model
            falls back to higher temperatures where these fail its checks.
        full_window: Whether the encoder always sees `WINDOW_SECONDS`, as the reference implementation does.
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
    """What the model sees at once.

    Attributes:
        samples: (samples,) in [-1, 1] at `SAMPLE_RATE`, at most `WINDOW_SECONDS` of them.
        options: The options of the transcription.
        prefix: The committed prefix that the text begins with.
        text: The full text, where only word times are wanted; empty otherwise.
        interim: Whether the result is interim. The window is then decoded once, without fallback; a text that fails the
            checks is left out.
        state: The model's state of a window that needs another run; None before the first run.
    """

    samples: NDArray[np.float32]
    options: TranscriptionOptions
    prefix: str = ""
    text: str = ""
    interim: bool = False
    state: Any = None

    @property
    def seconds(self) -> float:
        """The duration of the samples."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class RecognizedWord:
    """A word from `start` to `end` seconds, with the confidence of the model from 0 to 1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment from `start` to `end` seconds.

    Attributes:
        text: The text, without surrounding space.
        mean_log_probability: The mean log probability of the tokens.
        no_speech_probability: The probability that there is no speech, 0 to 1.
        temperature: The sampling temperature that produced the text.
        compression_ratio: The length of the text divided by its compressed length.
        words: The words, where they were requested.
    """

    start: float
    end: float
    text: str
    mean_log_probability: float
    no_speech_probability: float
    temperature: float = 0.0
    compression_ratio: float = 0.0
    words: tuple[RecognizedWord, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The transcript of one window; times count from its start.

    Attributes:
        language: The language, requested or detected, as an ISO 639-1 code; empty where it could not be detected.
        language_probability: The confidence of the detection, 0 to 1; 1 where the language was requested.
        segments: The segments in order; none where there is no speech.
    """

    language: str
    language_probability: float
    segments: tuple[Segment, ...]


@runtime_checkable
class Transcriber(BatchModel[Window, Any, WindowResult | Window], Protocol):
    """Transcribes windows. Windows of several callers may run as one batch.

    A run decodes as much of a window as it can. Where some of it is left, or the text needs a fallback, the run returns
    the window with its state, to be queued for another run.
    """

    @property
    def batches(self) -> bool:
        """Whether a batch of windows takes less time than the windows one by one, as on a GPU."""

    def check(self, options: TranscriptionOptions) -> None:
        """Reject options that the model does not support.

        Raises:
            InvalidArgument: The model does not support the language, translation, a prompt, ...; the field is named.
        """

    def cost(self, window: Window) -> float:
        """The cost of the next run of a window: the seconds of audio that the encoder sees."""


TranscriberScheduler = BatchScheduler[Window, WindowResult | Window]


async def transcribe_window(
    session: Session[Window, WindowResult | Window], model: Transcriber, window: Window
) -> WindowResult:
    """Transcribe a window in as many runs as it needs.

    Raises:
        ServeError: See `Session.submit`.
    """
    while True:
        outcome = await session.submit(window, model.cost(window))
        if isinstance(outcome, WindowResult):
            return outcome
        window = outcome
