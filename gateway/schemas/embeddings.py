"""Requests and responses of `/v1/embeddings`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class EmbeddingsRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request for the embeddings of one or several texts. Token ids are refused."""

    input: str | list[str | int | list[int]]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


class EmbeddingRow(Struct):
    """One embedding: numbers, or base64 of little-endian float32."""

    index: int
    embedding: list[float] | str
    object: Literal["embedding"] = "embedding"


class EmbeddingsUsage(Struct):
    """The number of tokens of the inputs."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct):
    """The embeddings, in the order of the inputs."""

    data: list[EmbeddingRow]
    model: str
    usage: EmbeddingsUsage
    object: Literal["list"] = "list"
