"""Text embedding by a sentence encoder, such as MiniLM."""

from collections.abc import Sequence

from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.models.text_encoder import TextEncoder, Tokens, load_text_encoder
from services.retrieval.embed import EmbeddedText, TextEmbedder
from services.retrieval.settings import RetrievalSettings

WINDOW = 256  # tokens that all-MiniLM-L6-v2 was trained on; its position table is longer


class SentenceEmbedder:
    """A `TextEmbedder` on a text encoder.

    Args:
        encoder: The text encoder.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self.dimensions = encoder.dimensions
        self.max_tokens = encoder.max_tokens
        self.networks = {"": encoder.network}

    def warm(self) -> None:
        self._encoder.warm()

    def close(self) -> None:
        self._encoder.close()

    def prepare(self, request: str) -> Tokens:
        return self._encoder.tokenize(request)

    def run(self, items: Sequence[Tokens], cancellation: CancellationToken) -> Sequence[EmbeddedText]:
        vectors = self._encoder.encode(items, cancellation)
        return [
            EmbeddedText(vector, len(item.ids), item.truncated) for vector, item in zip(vectors, items, strict=True)
        ]


def load(spec: ModelSpec, settings: RetrievalSettings) -> TextEmbedder:
    """Load the model in its folder."""
    encoder = load_text_encoder(
        spec.folder(settings.models_dir),
        provider=settings.provider,
        threads=1 if settings.provider == "cpu" else settings.threads,
        max_tokens=int(spec.limits.get("max_tokens", WINDOW)),
        max_batch_tokens=settings.max_batch_tokens,
    )
    return SentenceEmbedder(encoder)
