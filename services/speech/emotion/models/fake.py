"""A sentiment that is drawn from the text, of every language."""

import zlib
from collections.abc import Sequence

from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from servekit.rpc.context import CancellationToken
from services.speech.settings import SpeechSettings


class FakeSentiment:
    """The same text has the same sentiment; of a hundred texts about fifty are positive."""

    languages: Sequence[str] = ()

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)

    def prepare(self, request: str) -> str:
        return request

    def run(self, items: Sequence[str], cancellation: CancellationToken) -> list[float]:
        self.faults.step(cancellation)
        return [zlib.crc32(text.encode()) % 201 / 100 - 1 for text in items]

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""


def load(spec: ModelSpec, settings: SpeechSettings) -> FakeSentiment:  # noqa: ARG001
    """The fake of a spec."""
    return FakeSentiment(spec)
