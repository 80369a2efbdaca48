"""An embedder without a network: texts that share words get vectors that point the same way."""

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.backend import TensorSpec
from servekit.backends.fake import FakeBackend
from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.faults import Faults
from services.retrieval.models import EmbeddedText, TextEmbedder, Tokens
from services.retrieval.settings import RetrievalSettings

WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")  # a Chinese character is a word of its own


class FakeEmbedder:
    """A hashed bag of words.

    Args:
        card: Whose options are its faults; a batch is a step.
    """

    dimensions = 384
    max_tokens = 256

    def __init__(self, card: ModelCard) -> None:
        self.faults = Faults(card)
        int64, float32 = np.dtype(np.int64), np.dtype(np.float32)
        self.backend = FakeBackend(
            [TensorSpec(name, int64, (-1, -1)) for name in ("input_ids", "attention_mask")],
            [TensorSpec("embedding", float32, (-1, self.dimensions))],
            latency_seconds=self.faults.latency_seconds,
        )

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""

    def prepare(self, request: str) -> Tokens:
        words = WORD.findall(request.lower()) or [request]
        ids = np.array([zlib.crc32(word.encode()) for word in words], np.int64)
        return Tokens(ids[: self.max_tokens], len(ids) > self.max_tokens)

    def run(self, items: Sequence[Tokens], flag: Flag) -> Sequence[EmbeddedText]:
        self.faults.step(flag)
        return [EmbeddedText(self._vector(item.ids), len(item.ids), item.truncated) for item in items]

    def _vector(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Each word adds one to its place; never the zero vector."""
        counts = np.bincount(ids % self.dimensions, minlength=self.dimensions)
        return (counts / np.linalg.norm(counts)).astype(np.float32)


def load(card: ModelCard, settings: RetrievalSettings) -> TextEmbedder:  # noqa: ARG001
    """The fake of a card."""
    return FakeEmbedder(card)
