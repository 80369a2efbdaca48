"""A fake transcriber: words by a hash of the samples."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import EngineCrashed, InvalidArgument, ServeError
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, TranscriptionOptions, Window, WindowResult

PIECE_SECONDS = 5.0
WORDS = ("amber", "birch", "copper", "delta", "ember", "fjord", "garnet", "harbour")


class FakeTranscriber:
    """Returns a segment of two words for every five seconds that are not silent; each is a step for the faults.

    A prefix is put before the words; a given text replaces them, with its words at even times.
    """

    batches = False

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def check(self, options: TranscriptionOptions) -> None:
        if options.language and (len(options.language) != 2 or not options.language.isalpha()):
            raise InvalidArgument(
                f"language must be an ISO 639-1 code, got {cut(options.language)!r}", field="language"
            )

    def cost(self, window: Window) -> float:
        return window.seconds

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""

    def prepare(self, request: Window) -> Window:
        return request

    def run(self, items: Sequence[Window], cancellation: CancellationToken) -> Sequence[WindowResult | ServeError]:
        return [self._transcribe(window, cancellation) for window in items]

    def _transcribe(self, window: Window, cancellation: CancellationToken) -> WindowResult | ServeError:
        step = int(PIECE_SECONDS * SAMPLE_RATE)
        segments: list[Segment] = []
        try:
            for begin in range(0, len(window.samples), step):
                self.faults.step(cancellation)
                piece = window.samples[begin : begin + step]
                if piece.any():
                    segments.append(_segment(piece, begin / SAMPLE_RATE, word_times=window.options.word_times))
        except EngineCrashed:
            raise
        except ServeError as error:
            return error
        if window.text:
            segments = [_spread(window.text.split(), 0.0, window.seconds, word_times=True)]
        elif window.prefix:
            first = segments[0] if segments else Segment(0.0, window.seconds, "", -0.1, 0.01)
            texts = [*window.prefix.split(), *first.text.split()]
            segments[:1] = [_spread(texts, first.start, first.end, word_times=window.options.word_times)]
        language = window.options.language
        return WindowResult(
            language or ("en" if segments else ""), 1.0 if language or segments else 0.0, tuple(segments)
        )


def _segment(piece: NDArray[np.float32], start: float, *, word_times: bool) -> Segment:
    digest = zlib.crc32(np.ascontiguousarray(piece).tobytes())
    texts = [WORDS[digest % 8], WORDS[digest // 8 % 8]]
    return _spread(texts, start, start + len(piece) / SAMPLE_RATE, word_times=word_times)


def _spread(texts: list[str], start: float, end: float, *, word_times: bool) -> Segment:
    """A segment whose words have equal durations."""
    step = (end - start) / len(texts)
    words = tuple(RecognizedWord(start + i * step, start + (i + 1) * step, text, 0.9) for i, text in enumerate(texts))
    return Segment(start, end, " ".join(texts), -0.1, 0.01, words=words if word_times else ())


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeTranscriber:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeTranscriber(spec)
