"""A transcriber without a model: words that are drawn from the samples."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import EngineGone, InvalidArgument, ServeError
from servekit.faults import Faults
from services.speech.ports.transcriber import LISTENING_RATE, Instructions, Passage, Segment, Window, Word
from services.speech.settings import SpeechSettings

PIECE_SECONDS = 5.0
WORDS = ("amber", "birch", "copper", "delta", "ember", "fjord", "garnet", "harbour")


class FakeTranscriber:
    """A segment of two words for every five seconds that are not silent; each is a step for its faults."""

    batches = False

    def __init__(self, card: ModelCard) -> None:
        self.faults = Faults(card)

    def check(self, instructions: Instructions) -> None:
        if instructions.language and (len(instructions.language) != 2 or not instructions.language.isalpha()):
            raise InvalidArgument(f"no language has the code {instructions.language!r}", field="language")

    def cost(self, window: Window) -> float:
        return window.seconds

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""

    def prepare(self, request: Window) -> Window:
        return request

    def run(self, items: Sequence[Window], flag: Flag) -> Sequence[Passage | ServeError]:
        return [self._hear(window, flag) for window in items]

    def _hear(self, window: Window, flag: Flag) -> Passage | ServeError:
        step = int(PIECE_SECONDS * LISTENING_RATE)
        segments: list[Segment] = []
        try:
            for begin in range(0, len(window.samples), step):
                self.faults.step(flag)
                piece = window.samples[begin : begin + step]
                if piece.any():
                    segments.append(_segment(piece, begin / LISTENING_RATE, window.instructions))
        except EngineGone:
            raise
        except ServeError as error:
            return error
        if window.text or window.prefix:
            segments = [_spread(f"{window.prefix} {window.text}".split(), window.seconds)]
        stated = window.instructions.language
        return Passage(stated or ("en" if segments else ""), 1.0 if stated or segments else 0.0, tuple(segments))


def _segment(piece: NDArray[np.float32], start: float, instructions: Instructions) -> Segment:
    digest = zlib.crc32(np.ascontiguousarray(piece).tobytes())
    texts = (WORDS[digest % 8], WORDS[digest // 8 % 8])
    half = len(piece) / LISTENING_RATE / 2
    words = tuple(Word(start + i * half, start + (i + 1) * half, text, 0.9) for i, text in enumerate(texts))
    return Segment(start, start + 2 * half, " ".join(texts), -0.1, 0.01, words=words if instructions.word_times else ())


def _spread(texts: list[str], seconds: float) -> Segment:
    """Known words, evenly over the window."""
    each = seconds / len(texts)
    words = tuple(Word(number * each, (number + 1) * each, text, 0.9) for number, text in enumerate(texts))
    return Segment(0.0, seconds, " ".join(texts), -0.1, 0.01, words=words)


def load(card: ModelCard, settings: SpeechSettings) -> FakeTranscriber:  # noqa: ARG001
    """The fake of a card."""
    return FakeTranscriber(card)
