"""The bodies of `/v1/vector_stores`."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.schemas.metadata import Key, Metadata, Value

Attributes = Annotated[dict[Key, Value | float | bool], Meta(max_length=16)]


class AutoChunking(Struct, forbid_unknown_fields=True, tag_field="type", tag="auto"):
    """Passages of the gateway's own size, the only strategy."""


class CreateStoreRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The request to create a vector store and index files in it."""

    name: Annotated[str, Meta(max_length=256)] = ""
    file_ids: Annotated[list[str], Meta(max_length=100)] = []
    metadata: Metadata | None = None
    description: str | None = None
    chunking_strategy: AutoChunking | None = None


class AttachRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The request to index a text file."""

    file_id: str
    attributes: Attributes | None = None
    chunking_strategy: AutoChunking | None = None


class EqualFilter(Struct, forbid_unknown_fields=True, kw_only=True):
    """A filter: passages of files whose attribute `key` equals `value`."""

    key: str
    value: str | float | bool
    type: Literal["eq"] = "eq"


class RankingOptions(Struct, forbid_unknown_fields=True, kw_only=True):
    """Options: passages that score less than `score_threshold` are left out."""

    score_threshold: float | None = None
    ranker: Literal["auto", "none", "default-2024-11-15"] = "auto"


class StoreSearchRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """The request to search a vector store."""

    query: Annotated[str, Meta(min_length=1)] | Annotated[list[str], Meta(min_length=1)]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] = 10
    filters: EqualFilter | None = None
    ranking_options: RankingOptions | None = None
    rewrite_query: Literal[False] = False


class FileCounts(Struct):
    """The number of files in each state."""

    completed: int
    total: int
    in_progress: int = 0
    failed: int = 0
    cancelled: int = 0


class StoreAnswer(Struct):
    """A vector store; `created_at` is in seconds since 1970."""

    id: str
    name: str
    created_at: int
    usage_bytes: int
    file_counts: FileCounts
    metadata: dict[str, str]
    status: Literal["completed"] = "completed"
    object: Literal["vector_store"] = "vector_store"


class StoreList(Struct):
    """Vector stores, newest first."""

    data: list[StoreAnswer]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    object: Literal["list"] = "list"


class StoreFileAnswer(Struct):
    """A file in a vector store."""

    id: str
    vector_store_id: str
    created_at: int
    usage_bytes: int
    attributes: dict[str, Any]
    status: Literal["completed"] = "completed"
    last_error: None = None
    object: Literal["vector_store.file"] = "vector_store.file"


class StoreFileList(Struct):
    """Files of a vector store, newest first."""

    data: list[StoreFileAnswer]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False
    object: Literal["list"] = "list"


class PassageText(Struct):
    """The text of a passage."""

    text: str
    type: Literal["text"] = "text"


class FoundPassage(Struct):
    """A passage that was found, and its score."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, Any]
    content: list[PassageText]


class StoreSearchAnswer(Struct):
    """Passages, best first."""

    search_query: list[str]
    data: list[FoundPassage]
    has_more: bool = False
    next_page: str | None = None
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
