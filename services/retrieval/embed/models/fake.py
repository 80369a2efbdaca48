"""A fake embedder: texts that share words get similar vectors."""

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.retrieval.embed import EmbeddedText, TextEmbedder
from services.retrieval.settings import RetrievalSettings

WORD = re.compile(r"[\u4e00-\u9fff]|[^\W_\u4e00-\u9fff]+")  # each Chinese character is a word


class FakeEmbedder:
    """A hashed bag of words.

    Args:
        spec: The spec, whose options are the faults; a batch is one step.
    """

    dimensions = 384
    max_tokens = 256

    def __init__(self, spec: ModelSpec) -> None:
        self.faults = Faults(spec)
        int64, float32 = np.dtype(np.int64), np.dtype(np.float32)
        network = FakeBackend(
            [TensorSpec(name, int64, (-1, -1)) for name in ("input_ids", "attention_mask")],
            [TensorSpec("embedding", float32, (-1, self.dimensions))],
            latency_seconds=self.faults.latency_seconds,
        )
        self.networks = {"": network}

    def warm(self) -> None:
        """There is nothing to warm up."""

    def close(self) -> None:
        """There is nothing to free."""

    def prepare(self, request: str) -> EmbeddedText:
        words = WORD.findall(request.lower()) or [request]
        ids = np.array([zlib.crc32(word.encode()) for word in words[: self.max_tokens]], np.int64)
        return EmbeddedText(self._vector(ids), len(ids), len(words) > self.max_tokens)

    def run(self, items: Sequence[EmbeddedText], cancellation: CancellationToken) -> Sequence[EmbeddedText]:
        self.faults.step(cancellation)
        return items

    def _vector(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Each word increments one dimension; the vector is never zero."""
        counts = np.bincount(ids % self.dimensions, minlength=self.dimensions)
        return (counts / np.linalg.norm(counts)).astype(np.float32)


def load(spec: ModelSpec, settings: RetrievalSettings) -> TextEmbedder:  # noqa: ARG001
    """Load the fake of a spec."""
    return FakeEmbedder(spec)
