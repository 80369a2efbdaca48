"""The records of files and vector stores, in the object store; the vectors are in the retrieval service."""

import time
import uuid
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from servekit.echo import cut
from servekit.errors import InvalidArgument, NotFound
from servekit.media.blob_records import BlobRecords
from servekit.media.objects import ObjectStore

Attributes = Mapping[str, str | float | bool]
Row = TypeVar("Row", "FileRecord", "VectorStoreRecord", "IndexedFile")


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


@dataclass(frozen=True, slots=True)
class VectorStoreRecord:
    """A vector store of a tenant; the collection whose name is its id holds its passages."""

    id: str
    name: str
    created_at: int
    metadata: Mapping[str, str]


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


def fresh_id(prefix: str) -> str:
    """A new random id."""
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def now() -> int:
    """The current time in seconds since 1970."""
    return int(time.time())


class _Files(BlobRecords[FileRecord]):
    """The records of files; those that have expired are not found."""

    async def all(self, tenant: str) -> dict[str, FileRecord]:
        return {name: record for name, record in (await super().all(tenant)).items() if not _expired(record)}

    async def get(self, tenant: str, name: str, field: str = "name") -> FileRecord:
        record = await super().get(tenant, name, field)
        if _expired(record):
            raise self.not_found(name, field)
        return record


class Records:
    """The records of every tenant.

    Args:
        store: The object store of the records.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._files = _Files(store, "file", FileRecord)

    async def add_file(self, tenant: str, record: FileRecord) -> None:
        """Record a file whose bytes are stored.

        Raises:
            Unavailable: The bytes were deleted meanwhile, with another file of the same bytes.
        """
        await self._files.adopt(tenant, record.id, record)

    async def file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        """Return a file.

        Raises:
            NotFound: The tenant has no such file, or the file has expired.
        """
        return await self._files.get(tenant, file_id, field)

    async def files(self, tenant: str) -> list[FileRecord]:
        """Return the tenant's files, newest first."""
        return _newest((await self._files.all(tenant)).values())

    async def remove_file(self, tenant: str, record: FileRecord) -> None:
        """Delete a file, and its bytes unless another file has the same."""
        await self._files.delete(tenant, record.id, "file_id")

    async def add_vector_store(self, tenant: str, record: VectorStoreRecord) -> None:
        """Record a vector store."""
        await self._store.put_record(tenant, "store", record.id, asdict(record))

    async def vector_store(self, tenant: str, store_id: str, field: str = "vector_store_id") -> VectorStoreRecord:
        """Return a vector store.

        Raises:
            NotFound: The tenant has no such vector store.
        """
        row = await _named(self._store.get_record(tenant, "store", store_id), "vector store", store_id, field)
        return VectorStoreRecord(**row)

    async def vector_stores(self, tenant: str) -> list[VectorStoreRecord]:
        """Return the tenant's vector stores, newest first."""
        return _newest(VectorStoreRecord(**row) for row in (await self._store.list_records(tenant, "store")).values())

    async def remove_vector_store(self, tenant: str, store_id: str) -> None:
        """Delete the record of a vector store, after those of its files."""
        for indexed in await self.indexed(tenant, store_id):
            await self.remove_indexed(tenant, store_id, indexed.file_id)
        await self._store.delete_record(tenant, "store", store_id)

    async def add_indexed(self, tenant: str, record: IndexedFile) -> None:
        """Record that a vector store holds a file's passages."""
        await self._store.put_record(tenant, f"in-{record.store_id}", record.file_id, asdict(record))

    async def indexed(self, tenant: str, store_id: str) -> list[IndexedFile]:
        """Return the files of a vector store, newest first."""
        rows = await self._store.list_records(tenant, f"in-{store_id}")
        return _newest(IndexedFile(**row) for row in rows.values())

    async def indexed_file(self, tenant: str, store_id: str, file_id: str) -> IndexedFile:
        """Return a file of a vector store.

        Raises:
            NotFound: The vector store has no such file.
        """
        found = self._store.get_record(tenant, f"in-{store_id}", file_id)
        return IndexedFile(**await _named(found, "file in this vector store", file_id, "file_id"))

    async def remove_indexed(self, tenant: str, store_id: str, file_id: str) -> None:
        """Delete the record that a vector store holds a file's passages."""
        await self._store.delete_record(tenant, f"in-{store_id}", file_id)


def _expired(record: FileRecord) -> bool:
    return record.expires_at is not None and record.expires_at <= now()


async def _named(found: Awaitable[dict[str, Any]], kind: str, name: str, field: str) -> dict[str, Any]:
    """The record, or an error that names the caller's own field."""
    try:
        return await found
    except (NotFound, InvalidArgument):  # a malformed name names nothing
        raise NotFound(f"no {kind} named {cut(name)!r}", field=field) from None


def _newest(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.created_at, reverse=True)
