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


class FakeSynthesizer(_Fake):
    """A fifth of a second of tone for every word, its pitch drawn from the word; two voices, an octave apart."""

    sample_rate = 24_000
    voices = ("low", "high")

    def check(self, text: str) -> None:
        if not any(character.isalnum() for character in text):
            raise InvalidArgument("there are no words to speak in the text", field="text")

    def synthesize(self, text: str, voice: str, speed: float, flag: Flag) -> Iterator[NDArray[np.float32]]:
        seconds = np.arange(int(self.sample_rate * 0.2 / speed), dtype=np.float32) / self.sample_rate
        octave = 2.0 if voice == "high" else 1.0
        for sentence in text.replace("?", ".").replace("!", ".").split("."):
            pitches = [octave * (110 + zlib.crc32(word.encode()) % 110) for word in sentence.split()]
            if pitches:
                self.faults.step(flag)
                yield np.concatenate([0.3 * np.sin(2 * np.pi * pitch * seconds, dtype=np.float32) for pitch in pitches])


def load_speech_detector(card: ModelCard, settings: SpeechSettings) -> FakeSpeechDetector:  # noqa: ARG001
    """The fake of a card."""
    return FakeSpeechDetector()


def load_transcriber(card: ModelCard, settings: SpeechSettings) -> FakeTranscriber:  # noqa: ARG001
    """The fake of a card."""
    return FakeTranscriber(card)


def load_synthesizer(card: ModelCard, settings: SpeechSettings) -> FakeSynthesizer:  # noqa: ARG001
    """The fake of a card."""
    return FakeSynthesizer(card)
