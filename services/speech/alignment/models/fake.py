"""A fake aligner, which divides a window among its words by their length."""

from collections.abc import Sequence
from itertools import accumulate

from servekit.context import CancellationToken
from servekit.echo import cut
from servekit.errors import InvalidArgument
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.alignment import AlignmentInput, WordTiming
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings


class FakeAligner:
    """Returns a confidence of 0.9 for every word."""

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def check(self, language: str, words: Sequence[str]) -> None:  # noqa: ARG002
        if language and (len(language) != 2 or not language.isalpha()):
            raise InvalidArgument(f"language must be an ISO 639-1 code, got {cut(language)!r}", field="language")

    def prepare(self, request: AlignmentInput) -> AlignmentInput:
        return request

    def run(self, items: Sequence[AlignmentInput], cancellation: CancellationToken) -> list[list[WordTiming]]:
        self.faults.step(cancellation)
        return [_shares(item) for item in items]

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""


def _shares(item: AlignmentInput) -> list[WordTiming]:
    ends = list(accumulate(map(len, item.words)))
    scale = len(item.samples) / SAMPLE_RATE / max(1, *ends, 0)
    return [WordTiming((end - len(word)) * scale, end * scale, 0.9) for word, end in zip(item.words, ends, strict=True)]


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeAligner:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeAligner(spec)
