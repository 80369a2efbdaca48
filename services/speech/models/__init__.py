"""The ports of the speech models, and where each loader is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.lane import Model

LISTENING_RATE = 16_000

LOADERS = {
    "silero": "services.speech.models.silero:load",
    "wav2vec2": "services.speech.models.wav2vec2:load",
    "fake-aligner": "services.speech.models.fake_aligner:load",
    "whisper": "services.speech.models.whisper:load",
    "hibari": "services.speech.models.hibari:load",
    "fake-speech-detector": "services.speech.models.fake:load_speech_detector",
    "vader": "services.speech.models.vader:load",
    "hownet": "services.speech.models.hownet:load",
    "acoustic-emotion": "services.speech.models.emotion:load",
    "fake-sentiment": "services.speech.models.fake_sentiment:load",
    "resemblyzer": "services.speech.models.resemblyzer:load",
    "fake-transcriber": "services.speech.models.fake:load_transcriber",
    "deepfilter": "services.speech.models.deepfilter:load",
    "spectral-gate": "services.speech.models.spectral_gate:load",
    "fake-enhancer": "services.speech.models.fake_enhancer:load",
    "fake-synthesizer": "services.speech.models.fake_synthesizer:load",
}


@dataclass(frozen=True, slots=True)
class Instructions:
    """How a recording is to be transcribed.

    Attributes:
        language: ISO 639-1 code of what is spoken; empty to have it detected.
        prompt: What comes before, or names and terms to expect.
        word_times: Whether segments list their words.
        temperature: 0 to 1; 0 takes the likeliest words.
    """

    language: str = ""
    prompt: str = ""
    word_times: bool = False
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Started:
    """The language is known; empty and of probability 0 where nobody speaks and none was stated."""

    language: str
    probability: float


@dataclass(frozen=True, slots=True)
class Word:
    """One word, from `start` to `end` seconds, with the model's confidence from 0 to 1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A phrase, from `start` to `end` seconds, with the mean log probability of its tokens."""

    start: float
    end: float
    text: str
    mean_log_probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The seconds of sound, and how many of them were speech."""

    duration: float
    speech: float


Heard = Started | Segment | Finished


class Transcriber(Model, Protocol):
    """Writes down what is said."""

    def check(self, instructions: Instructions) -> None:
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language.
        """

    def transcribe(self, samples: NDArray[np.float32], instructions: Instructions, flag: Flag) -> Iterator[Heard]:
        """Listen to (samples,) in [-1, 1] at `LISTENING_RATE`: one `Started`, segments in order, one `Finished`.

        Raises:
            Cancelled, DeadlineExceeded: The flag was set; it is looked at before every step of the engine.
        """
