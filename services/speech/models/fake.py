"""Speech models without models: deterministic from what they are given, settable in slowness and failures."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import InvalidArgument
from servekit.faults import Faults
from services.speech.models import Finished, Heard, Started
from services.speech.ports.transcriber import LISTENING_RATE, Instructions, Passage, Segment, Window, Word
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
    """A segment of two words for every five seconds that are not silent, the words drawn from the samples.

    A prefix comes before them; a text that is known takes their place, its words spread evenly.
    """

    def check(self, instructions: Instructions) -> None:
        if instructions.language and (len(instructions.language) != 2 or not instructions.language.isalpha()):
            raise InvalidArgument(f"no language has the code {instructions.language!r}", field="language")

    def cost(self, window: Window) -> float:
        return window.seconds

    def prepare(self, request: Window) -> Window:
        return request

    def run(self, items: Sequence[Window], flag: Flag) -> list[Passage]:
        self.faults.step(flag)
        return [_passage(window) for window in items]

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


def _passage(window: Window) -> Passage:
    step = int(SEGMENT_SECONDS * LISTENING_RATE)
    pieces = {begin: window.samples[begin : begin + step] for begin in range(0, len(window.samples), step)}
    heard = {begin / LISTENING_RATE: piece for begin, piece in pieces.items() if piece.any()}
    stated, word_times = window.instructions.language, window.instructions.word_times
    if window.text:
        segments = [_spread(window.text.split(), 0.0, window.seconds, word_times=True)]
    else:
        segments = [_segment(piece, start, word_times=word_times) for start, piece in heard.items()]
    if window.prefix:
        begun = segments[0] if segments else Segment(0.0, window.seconds, "", -0.1, 0.01)
        texts = [*window.prefix.split(), *begun.text.split()]
        segments[:1] = [_spread(texts, begun.start, begun.end, word_times=word_times)]
    language = stated or ("en" if segments else "")
    return Passage(language, 1.0 if language else 0.0, tuple(segments))


def _segment(piece: NDArray[np.float32], start: float, *, word_times: bool) -> Segment:
    digest = zlib.crc32(np.ascontiguousarray(piece).tobytes())
    texts = [WORDS[digest % 8], WORDS[digest // 8 % 8]]
    return _spread(texts, start, start + len(piece) / LISTENING_RATE, word_times=word_times)


def _spread(texts: Sequence[str], start: float, end: float, *, word_times: bool) -> Segment:
    """A segment whose words all take as long."""
    step = (end - start) / max(1, len(texts))
    words = tuple(Word(start + i * step, start + (i + 1) * step, text, 0.9) for i, text in enumerate(texts))
    return Segment(start, end, " ".join(texts), -0.1, 0.01, words=words if word_times else ())


def load_speech_detector(card: ModelCard, settings: SpeechSettings) -> FakeSpeechDetector:  # noqa: ARG001
    """The fake of a card."""
    return FakeSpeechDetector()


def load_transcriber(card: ModelCard, settings: SpeechSettings) -> FakeTranscriber:  # noqa: ARG001
    """The fake of a card."""
    return FakeTranscriber(card)
