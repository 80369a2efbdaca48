"""What is known of files and vector stores, kept in the object store beside the bytes; the vectors lie elsewhere."""

import time
import uuid
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from servekit.media.objects import ObjectStore
from servekit.rpc.errors import InvalidArgument, NotFound

Attributes = Mapping[str, str | float | bool]
Row = TypeVar("Row", "FileRecord", "StoreRecord", "IndexedFile")


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file of a tenant.

    Attributes:
        reference: Its content address in the object store.
        size: Bytes.
        created_at: Seconds since 1970, as every time here.
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
class StoreRecord:
    """A vector store of a tenant; the collection of the same name holds its passages."""

    id: str
    name: str
    created_at: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """A file whose passages are in a vector store.

    Attributes:
        chunks: How many passages it was cut to.
        attributes: What the caller filters searches by.
    """

    store_id: str
    file_id: str
    filename: str
    size: int
    chunks: int
    created_at: int
    attributes: Attributes


def fresh_id(prefix: str) -> str:
    """An id that nobody has guessed."""
    return f"{prefix}{uuid.uuid4().hex[:24]}"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


class Records:
    """The records of every tenant.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def add_file(self, tenant: str, record: FileRecord) -> None:
        """Keep a file's record."""
        await self._store.put_record(tenant, "file", record.id, asdict(record))

    async def file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        """One file.

        Raises:
            NotFound: The tenant has no such file, or no more.
        """
        record = FileRecord(**await _named(self._store.get_record(tenant, "file", file_id), "file", file_id, field))
        if record.expires_at is not None and record.expires_at <= now():
            raise _missing("file", file_id, field)
        return record

    async def files(self, tenant: str) -> list[FileRecord]:
        """Every file of the tenant, the newest first."""
        rows = (FileRecord(**row) for row in (await self._store.list_records(tenant, "file")).values())
        return _newest(row for row in rows if row.expires_at is None or row.expires_at > now())

    async def remove_file(self, tenant: str, record: FileRecord) -> None:
        """Forget a file, and its bytes where no other file is made of the same."""
        await self._store.delete_record(tenant, "file", record.id)
        if all(other.reference != record.reference for other in await self.files(tenant)):
            await self._store.delete(tenant, record.reference)

    async def add_store(self, tenant: str, record: StoreRecord) -> None:
        """Keep a vector store's record."""
        await self._store.put_record(tenant, "store", record.id, asdict(record))

    async def store(self, tenant: str, store_id: str, field: str = "vector_store_id") -> StoreRecord:
        """One vector store.

        Raises:
            NotFound: The tenant has no such store.
        """
        row = await _named(self._store.get_record(tenant, "store", store_id), "vector store", store_id, field)
        return StoreRecord(**row)

    async def stores(self, tenant: str) -> list[StoreRecord]:
        """Every vector store of the tenant, the newest first."""
        return _newest(StoreRecord(**row) for row in (await self._store.list_records(tenant, "store")).values())

    async def remove_store(self, tenant: str, store_id: str) -> None:
        """Forget a vector store and what was in it."""
        for indexed in await self.indexed(tenant, store_id):
            await self.remove_indexed(tenant, store_id, indexed.file_id)
        await self._store.delete_record(tenant, "store", store_id)

    async def add_indexed(self, tenant: str, record: IndexedFile) -> None:
        """Keep that a file is in a vector store."""
        await self._store.put_record(tenant, f"in-{record.store_id}", record.file_id, asdict(record))

    async def indexed(self, tenant: str, store_id: str) -> list[IndexedFile]:
        """The files in a vector store, the newest first."""
        rows = await self._store.list_records(tenant, f"in-{store_id}")
        return _newest(IndexedFile(**row) for row in rows.values())

    async def indexed_file(self, tenant: str, store_id: str, file_id: str) -> IndexedFile:
        """One file in a vector store.

        Raises:
            NotFound: It is not there.
        """
        found = self._store.get_record(tenant, f"in-{store_id}", file_id)
        return IndexedFile(**await _named(found, "file in this vector store", file_id, "file_id"))

    async def remove_indexed(self, tenant: str, store_id: str, file_id: str) -> None:
        """Forget that a file is in a vector store."""
        await self._store.delete_record(tenant, f"in-{store_id}", file_id)


async def _named(found: Awaitable[dict[str, Any]], kind: str, name: str, field: str) -> dict[str, Any]:
    """The record, or an error that speaks of the caller's own field."""
    try:
        return await found
    except (NotFound, InvalidArgument):  # what is no proper name names nothing
        raise _missing(kind, name, field) from None


def _missing(kind: str, name: str, field: str) -> NotFound:
    return NotFound(f"there is no {kind} {name[:80]!r}", field=field)


def _newest(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.created_at, reverse=True)
