"""The rows of the records."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

Attributes = Mapping[str, str | float | bool]

# Rows of one list: each takes the event loop some microseconds.
MAX_ROWS = 1000


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a tenant.

    Attributes:
        size: The size of the file in bytes.
        reference: The content address of the file in the object store.
        created_at: When the file was uploaded, in seconds since 1970.
        expires_at: When the file expires, in seconds since 1970; None for never.
    """

    id: str
    filename: str
    size: int
    mime_type: str
    purpose: str
    reference: str
    created_at: int
    expires_at: int | None = None

    @property
    def digest(self) -> str:
        """The SHA-256 of the bytes, hexadecimal."""
        return self.reference.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class VectorStoreRecord:
    """A vector store of a tenant; the collection whose name is its id holds its passages."""

    id: str
    name: str
    created_at: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """What a vector store holds.

    Attributes:
        files: The number of its files.
        size: Their size in bytes.
    """

    files: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file whose passages are in a vector store.

    Attributes:
        size: The size of the file in bytes.
        chunks: The number of passages that the file was split into.
        created_at: When the file was indexed, in seconds since 1970.
        attributes: The attributes that searches can filter by.
    """

    store_id: str
    file_id: str
    filename: str
    size: int
    chunks: int
    created_at: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class FileChange:
    """The attachment of a file to a vector store, or its detachment, that has not ended.

    Attributes:
        id: Identifies the change; the metadata of the passages that it writes name it.
        attached: The record of the file once it is attached; None where the file is detached.
    """

    id: str
    store_id: str
    file_id: str
    attached: IndexedFile | None


def fresh_id(prefix: str) -> str:
    """A new random id."""
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def now() -> int:
    """The current time in seconds since 1970."""
    return int(time.time())
