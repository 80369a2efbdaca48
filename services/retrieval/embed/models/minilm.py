"""MiniLM and other BERT sentence encoders, on ONNX Runtime."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from servekit.models.backend import Arrays, TensorBackend
from servekit.models.backends.onnx import OnnxBackend
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import InvalidArgument, TooLarge
from services.retrieval.embed import EmbeddedText, TextEmbedder, Tokens
from services.retrieval.export import network
from services.retrieval.settings import RetrievalSettings

WINDOW = 256  # tokens that all-MiniLM-L6-v2 was trained on; its position table is longer
LONGEST_WORD = 100  # characters; WordPiece turns a longer word into one token


class MiniLm:
    """A sentence encoder that runs texts of similar length together.

    Args:
        tokenizer: The path of the model's tokenizer.json.
        backend: The network.
        max_tokens: The window of the model.
        max_batch_tokens: The maximum number of tokens in one run of the network, padding included.
    """

    def __init__(self, tokenizer: Path, backend: TensorBackend, max_tokens: int, max_batch_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._max_batch_tokens = max_batch_tokens
        self.max_tokens = max_tokens
        self.dimensions = backend.outputs[0].shape[-1]
        self.backend = Windowed(backend, max_tokens, max_batch_tokens)
        self.networks = {"": self.backend}

    def warm(self) -> None:
        self.run([self.prepare("warm")], CancellationToken())

    def close(self) -> None:
        self.backend.close()

    def prepare(self, request: str) -> Tokens:
        # The beginning of a long text almost always fills the window; the rest is then not tokenised.
        head = request[: self.max_tokens * 32]
        ids = self._tokenizer.encode(head).ids
        if len(head) < len(request) and len(ids) < self.max_tokens + LONGEST_WORD:
            ids = self._tokenizer.encode(request).ids
        truncated = len(ids) > self.max_tokens
        if truncated:
            ids = [*ids[: self.max_tokens - 1], ids[-1]]
        return Tokens(np.array(ids, np.int64), truncated)

    def run(self, items: Sequence[Tokens], cancellation: CancellationToken) -> Sequence[EmbeddedText]:
        results: dict[int, EmbeddedText] = {}
        for indexes in _batches([len(item.ids) for item in items], self._max_batch_tokens):
            cancellation.raise_if_cancelled()
            batch = [items[index] for index in indexes]
            vectors = self.backend.infer(_padded([item.ids for item in batch]))["embedding"]
            for index, item, vector in zip(indexes, batch, vectors, strict=True):
                results[index] = EmbeddedText(vector.astype(np.float32), len(item.ids), item.truncated)
        return [results[index] for index in range(len(items))]


class Windowed:
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


def load(model_spec: ModelSpec, settings: RetrievalSettings) -> TextEmbedder:
    """Load the model in its folder; the first load exports the ONNX file."""
    folder = model_spec.folder(settings.models_dir)
    threads = 1 if settings.provider == "cpu" else settings.threads
    backend = OnnxBackend(network(folder), threads, settings.provider)
    window = int(model_spec.limits.get("max_tokens", WINDOW))
    return MiniLm(folder / "tokenizer.json", backend, window, settings.max_batch_tokens)
