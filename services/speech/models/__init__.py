"""The ports of the speech models, and where each loader is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.lane import Model
from services.speech.ports.transcriber import LISTENING_RATE as LISTENING_RATE
from services.speech.ports.transcriber import Instructions as Instructions
from services.speech.ports.transcriber import Segment as Segment
from services.speech.ports.transcriber import Word as Word

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
class Started:
    """The language is known; empty and of probability 0 where nobody speaks and none was stated."""

    language: str
    probability: float


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
