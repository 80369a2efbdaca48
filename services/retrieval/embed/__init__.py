"""The port of text embedding: what the service asks of a model that embeds texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """An embedded text.

    Attributes:
        vector: The embedding, float32 `[dimensions]`, of L2 norm 1.
        tokens: The number of tokens that were embedded, special tokens included.
        truncated: Whether the text was truncated to the model's window.
    """

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool


@runtime_checkable
class TextEmbedder(BatchModel[str, Any, EmbeddedText], Protocol):
    """A model that embeds texts: `prepare` tokenises one, `run` embeds several. Several threads may call it at once."""

    @property
    def dimensions(self) -> int:
        """The number of dimensions of a vector."""

    @property
    def max_tokens(self) -> int:
        """The window of the model: longer texts are truncated to it."""

    @property
    def networks(self) -> Mapping[str, TensorBackend]:
        """The network alone, under an empty name: `input_ids` and `attention_mask`, int64 `[batch, tokens]`, to
        `embedding`, float32 `[batch, dimensions]`."""
