"""A sentiment that is drawn from the text, of every language."""

import zlib
from collections.abc import Sequence

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.faults import Faults
from services.speech.settings import SpeechSettings


class FakeSentiment:
    """The same text has the same sentiment; of a hundred texts about fifty are positive."""

    languages: Sequence[str] = ()

    def __init__(self, card: ModelCard) -> None:
        self.faults = Faults(card)

    def prepare(self, request: str) -> str:
        return request

    def run(self, items: Sequence[str], flag: Flag) -> list[float]:
        self.faults.step(flag)
        return [zlib.crc32(text.encode()) % 201 / 100 - 1 for text in items]

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""


def load(card: ModelCard, settings: SpeechSettings) -> FakeSentiment:  # noqa: ARG001
    """The fake of a card."""
    return FakeSentiment(card)
