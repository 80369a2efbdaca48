"""The port of text embedding: what the service asks of a model that embeds texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from servekit.models.backend import TensorBackend
from servekit.scheduling.batch import BatchModel


@dataclass(frozen=True, slots=True)
class Tokens:
    """A text, ready for the network.

    Attributes:
        ids: Token ids, special tokens included, int64 `[tokens]`.
        truncated: Whether the text was cut to the model's window.
    """

    ids: NDArray[np.int64]
    truncated: bool


@dataclass(frozen=True, slots=True)
class EmbeddedText:
    """What became of a text.

    Attributes:
        vector: float32 `[dimensions]`, of length 1.
        tokens: How many tokens were embedded, special tokens included.
        truncated: Whether the text was cut to the model's window.
    """

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool


@runtime_checkable
class TextEmbedder(BatchModel[str, Tokens, EmbeddedText], Protocol):
    """Makes vectors of texts: `prepare` tokenises one, `run` embeds several. May run on several threads at once."""

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""

    @property
    def max_tokens(self) -> int:
        """Its window; what exceeds it is cut."""

    @property
    def networks(self) -> Mapping[str, TensorBackend]:
        """The network alone, under an empty name: `input_ids` and `attention_mask`, int64 `[batch, tokens]`, to
        `embedding`, float32 `[batch, dimensions]`."""
