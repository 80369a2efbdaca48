"""VADER: the sentiment of English by a lexicon and rules (Hutto and Gilbert, 2014)."""

from collections.abc import Sequence

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from services.speech.settings import SpeechSettings


class Vader:
    """A sentiment classifier with the lexicon of the library."""

    languages: Sequence[str] = ("en",)

    def __init__(self) -> None:
        self._analyzer = SentimentIntensityAnalyzer()

    def prepare(self, request: str) -> str:
        return request

    def run(self, items: Sequence[str], cancellation: CancellationToken) -> list[float]:
        scores = []
        for text in items:
            cancellation.raise_if_cancelled()
            scores.append(float(self._analyzer.polarity_scores(text)["compound"]))
        return scores

    def warm(self) -> None:
        self.run(["fine"], CancellationToken())

    def close(self) -> None:
        """The lexicon is freed with its last reference."""


def load(spec: ModelSpec, settings: SpeechSettings) -> Vader:  # noqa: ARG001
    """Load the lexicon of the library."""
    return Vader()
