"""Text encoders: tokeniser, network and pooling of a sentence encoder, from a folder of its weights.

A loader by form: any service whose task needs vectors of texts loads its model with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from servekit.context import CancellationToken
from servekit.errors import InvalidArgument, TooLarge
from servekit.models.backend import Arrays, Provider, TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.bert import network

LONGEST_WORD = 100  # characters; WordPiece turns a longer word into one token


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenised text.

    Attributes:
        ids: The token ids, special tokens included, int64 `[tokens]`.
        truncated: Whether the text was truncated to the model's window.
    """

    ids: NDArray[np.int64]
    truncated: bool


class TextEncoder:
    """A sentence encoder that runs texts of similar length together. Several threads may call it at once.

    Args:
        tokenizer: The path of the model's tokenizer.json.
        network: The network: `input_ids` and `attention_mask`, int64 `[batch, tokens]`, to `embedding`, float32
            `[batch, dimensions]`.
        max_tokens: The window of the model.
        max_batch_tokens: The maximum number of tokens in one run of the network, padding included.
    """

    def __init__(self, tokenizer: Path, network: TensorBackend, max_tokens: int, max_batch_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_batch_tokens = max_batch_tokens
        self.max_tokens = max_tokens
        self.dimensions = network.outputs[0].shape[-1]
        self.network = BoundedNetwork(network, max_tokens, max_batch_tokens)

    def warm(self) -> None:
        """Encode one short text."""
        self.encode([self.tokenize("warm")], CancellationToken())

    def close(self) -> None:
        """Free the memory of the network."""
        self.network.close()

    def tokenize(self, text: str) -> Tokens:
        """Tokenise a text, and truncate it to the window."""
        # The beginning of a long text almost always fills the window; the rest is then not tokenised.
        head = text[: self.max_tokens * 32]
        ids = self._tokenizer.encode(head).ids
        if len(head) < len(text) and len(ids) < self.max_tokens + LONGEST_WORD:
            ids = self._tokenizer.encode(text).ids
        truncated = len(ids) > self.max_tokens
        if truncated:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        return Tokens(np.array(ids, np.int64), truncated)

    def encode(self, texts: Sequence[Tokens], cancellation: CancellationToken) -> NDArray[np.float32]:
        """Encode texts, as vectors in the order of the texts, float32 `[texts, dimensions]`.

        Raises:
            Cancelled, DeadlineExceeded: The token was cancelled between two runs of the network.
        """
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for indexes in _batches([len(text.ids) for text in texts], self._max_batch_tokens):
            cancellation.raise_if_cancelled()
            vectors[indexes] = self.network.infer(_padded([texts[index].ids for index in indexes]))["embedding"]
        return vectors


class BoundedNetwork:
    """A network that rejects rows longer than its window and splits large batches.

    This bounds the memory of a run, whatever a caller of the Open Inference Protocol sends.
    """

    def __init__(self, backend: TensorBackend, max_tokens: int, max_batch_tokens: int) -> None:
        self._backend = backend
        self._max_tokens = max_tokens
        self._max_batch_tokens = max_batch_tokens
        self.inputs = backend.inputs
        self.outputs = backend.outputs

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network; see `TensorBackend`.

        Raises:
            TooLarge: A row has more tokens than the window.
            InvalidArgument: The mask's shape is not that of the ids, or an id is not in the vocabulary.
        """
        ids, mask = arrays["input_ids"], arrays["attention_mask"]
        if ids.shape != mask.shape:
            message = f"attention_mask must have the shape of input_ids, {list(ids.shape)}, got {list(mask.shape)}"
            raise InvalidArgument(message, field="inputs.attention_mask")
        rows, tokens = ids.shape
        if tokens > self._max_tokens:
            message = f"a row must have at most {self._max_tokens} tokens, got {tokens}"
            raise TooLarge(message, field="inputs.input_ids")
        step = max(1, self._max_batch_tokens // tokens)
        parts = [
            self._backend.infer({"input_ids": ids[row : row + step], "attention_mask": mask[row : row + step]})
            for row in range(0, rows, step)
        ]
        return {spec.name: np.concatenate([part[spec.name] for part in parts]) for spec in self.outputs}

    def close(self) -> None:
        """Free the memory of the network."""
        self._backend.close()


def _batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Yield indexes of texts that run together: of similar length, at most `max_tokens` padded, at least one text."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[index] > max_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _padded(rows: Sequence[NDArray[np.int64]]) -> Arrays:
    mask = np.arange(max(map(len, rows))) < np.array([[len(row)] for row in rows])
    ids = np.zeros(mask.shape, np.int64)
    ids[mask] = np.concatenate(rows)
    return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}


def load_text_encoder(
    folder: Path, *, provider: Provider, threads: int, max_tokens: int, max_batch_tokens: int
) -> TextEncoder:
    """Load the sentence encoder in a folder; the first load exports its ONNX file.

    Args:
        folder: Holds `model.safetensors` and `config.json` of a BERT encoder, and `tokenizer.json`.
        provider: The execution provider of ONNX Runtime.
        threads: Threads of one run of the network.
        max_tokens: The window of the model.
        max_batch_tokens: The maximum number of tokens in one run of the network, padding included.
    """
    backend = OnnxBackend(network(folder), threads, provider)
    return TextEncoder(folder / "tokenizer.json", backend, max_tokens, max_batch_tokens)
