"""VADER: the sentiment of English by a lexicon and rules (Hutto and Gilbert, 2014)."""

from collections.abc import Sequence

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from servekit.call import Flag
from servekit.catalogue import ModelCard
from services.speech.settings import SpeechSettings


class Vader:
    """The lexicon that comes with the library."""

    languages: Sequence[str] = ("en",)

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def prepare(self, request: str) -> str:
        return request

    def run(self, items: Sequence[str], flag: Flag) -> list[float]:
        scores = []
        for text in items:
            flag.check()
            scores.append(float(self._analyzer.polarity_scores(text)["compound"]))
        return scores

    def warm(self) -> None:
        self.run(["fine"], Flag())

    def close(self) -> None:
        """The lexicon is freed with its last reference."""


def load(card: ModelCard, settings: SpeechSettings) -> Vader:  # noqa: ARG001
    """Load the library's lexicon."""
    return Vader()
