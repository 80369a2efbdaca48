"""A fake sentiment classifier for any language, which hashes the text."""

import zlib
from collections.abc import Sequence

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.speech.settings import SpeechSettings


class FakeSentiment:
    """Returns the same score for the same text; about half of all texts are positive."""

    languages: Sequence[str] = ()

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def prepare(self, request: str) -> str:
        return request

    def run(self, items: Sequence[str], cancellation: CancellationToken) -> list[float]:
        self.faults.step(cancellation)
        return [zlib.crc32(text.encode()) % 201 / 100 - 1 for text in items]

    def warm(self) -> None:
        """The fake needs no warm-up."""

    def close(self) -> None:
        """The fake holds no resources."""


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeSentiment:  # noqa: ARG001
    """Create the fake of a spec."""
    return FakeSentiment(spec)
