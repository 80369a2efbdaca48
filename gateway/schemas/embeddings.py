"""What `/v1/embeddings` takes and gives."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class EmbeddingsRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Asks for embeddings of one or several texts. Tokens in their place are refused."""

    input: str | list[str | int | list[int]]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


class EmbeddingRow(Struct):
    """One embedding: numbers, or base64 of little-endian binary32."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct):
    """Tokens that were embedded."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct):
    """Embeddings in the order of their inputs."""

    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"
