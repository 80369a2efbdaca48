"""Speech models without models: deterministic from what they are given, settable in slowness and failures."""

import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import InvalidArgument
from servekit.faults import Faults
from services.speech.models import LISTENING_RATE, Finished, Heard, Instructions, Segment, Started, Word
from services.speech.settings import SpeechSettings

SEGMENT_SECONDS = 5.0
WORDS = ("amber", "birch", "copper", "delta", "ember", "fjord", "garnet", "harbour")


class _Fake:
    """What both share: faults, of which every piece of an answer is a step."""

    def __init__(self, card: ModelCard) -> None:
        self.faults = Faults(card)

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""


class FakeSpeechDetector:
    """Speech is whatever is not silent."""

    def listen(self) -> "FakeSpeechDetector":
        return self

    def hear(self, steps: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(steps.any(axis=1), dtype=np.float32)


class FakeTranscriber(_Fake):
    """A segment of two words for every five seconds that are not silent, the words drawn from the samples."""

    def check(self, instructions: Instructions) -> None:
        if instructions.language and (len(instructions.language) != 2 or not instructions.language.isalpha()):
            raise InvalidArgument(f"no language has the code {instructions.language!r}", field="language")

    def transcribe(self, samples: NDArray[np.float32], instructions: Instructions, flag: Flag) -> Iterator[Heard]:
        stated = bool(instructions.language)
        yield Started(instructions.language or ("en" if samples.any() else ""), 1.0 if stated or samples.any() else 0.0)
        step = int(SEGMENT_SECONDS * LISTENING_RATE)
        speech = 0.0
        for begin in range(0, len(samples), step):
            self.faults.step(flag)
            piece = samples[begin : begin + step]
            if piece.any():
                speech += len(piece) / LISTENING_RATE
                yield _segment(piece, begin / LISTENING_RATE, word_times=instructions.word_times)
        yield Finished(len(samples) / LISTENING_RATE, speech)


def _segment(piece: NDArray[np.float32], start: float, *, word_times: bool) -> Segment:
    digest = zlib.crc32(np.ascontiguousarray(piece).tobytes())
    texts = (WORDS[digest % 8], WORDS[digest // 8 % 8])
    half = len(piece) / LISTENING_RATE / 2
    words = tuple(Word(start + i * half, start + (i + 1) * half, text, 0.9) for i, text in enumerate(texts))
    return Segment(start, start + 2 * half, " ".join(texts), -0.1, 0.01, words if word_times else ())


def load_speech_detector(card: ModelCard, settings: SpeechSettings) -> FakeSpeechDetector:  # noqa: ARG001
    """The fake of a card."""
    return FakeSpeechDetector()


def load_transcriber(card: ModelCard, settings: SpeechSettings) -> FakeTranscriber:  # noqa: ARG001
    """The fake of a card."""
    return FakeTranscriber(card)
