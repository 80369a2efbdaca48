"""The port of what reads sentiment: words in, how positive they are out."""

from collections.abc import Sequence
from typing import Protocol

from servekit.scheduling.batch import BatchModel


class SentimentReader(BatchModel[str, str, float], Protocol):
    """Tells how positive texts are, from -1 to 1; 0 for what says neither."""

    @property
    def languages(self) -> Sequence[str]:
        """What it reads, as ISO 639-1 codes; none stands for all."""
