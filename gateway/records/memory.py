"""Records in memory, which end with the process."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from gateway.records import PENDING_SECONDS
from gateway.records.errors import change_ended, check_storable, not_found, upload_expired
from gateway.records.rows import MAX_ROWS, FileChange, FileRecord, IndexedFile, StoreUsage, VectorStoreRecord, now

Row = TypeVar("Row", FileRecord, VectorStoreRecord, IndexedFile)


class MemoryRecords:
    """See `Records`.

    Args:
        url: `memory:`.
        connections: Ignored: there is no database.
    """

    ready = True

    def __init__(self, url: str = "memory:", connections: int = 0) -> None:  # noqa: ARG002
        self._objects: set[tuple[str, str]] = set()
        self._files: dict[tuple[str, str], FileRecord] = {}
        self._uploads: dict[tuple[str, str], tuple[FileRecord, float]] = {}  # each with the time when it expires
        self._stores: dict[tuple[str, str], VectorStoreRecord] = {}
        self._indexed: dict[tuple[str, str, str], IndexedFile] = {}
        self._changes: dict[tuple[str, str, str], tuple[FileChange, float]] = {}  # each with the time when it is late
        self._collecting = asyncio.Lock()

    def check_ready(self) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def begin_upload(self, tenant: str, file: FileRecord) -> None:
        check_storable("file", file.filename)
        async with self._collecting:
            self._objects.add((tenant, file.digest))
            if (tenant, file.id) not in self._files:
                self._uploads[tenant, file.id] = file, now() + PENDING_SECONDS

    async def finish_upload(self, tenant: str, file: FileRecord) -> None:
        if self._uploads.pop((tenant, file.id), None) is None:
            raise upload_expired()
        self._files[tenant, file.id] = file

    async def abandon_upload(self, tenant: str, file_id: str) -> None:
        self._uploads.pop((tenant, file_id), None)
        self._files.pop((tenant, file_id), None)

    async def file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        file = self._files.get((tenant, file_id))
        if file is None or _expired(file, now()):
            raise not_found("file", file_id, field)
        return file

    async def files(
        self, tenant: str, limit: int = MAX_ROWS, after: FileRecord | None = None, purpose: str = ""
    ) -> list[FileRecord]:
        files = (file for (owner, _), file in self._files.items() if owner == tenant and not _expired(file, now()))
        return _newest((file for file in files if purpose in ("", file.purpose)), limit, after, _id)

    async def remove_file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        file = await self.file(tenant, file_id, field)
        del self._files[tenant, file_id]
        return file

    async def add_vector_store(self, tenant: str, record: VectorStoreRecord) -> None:
        check_storable("name", record.name)
        check_storable("metadata", record.metadata)
        self._stores.setdefault((tenant, record.id), record)

    async def vector_store(self, tenant: str, store_id: str, field: str = "vector_store_id") -> VectorStoreRecord:
        if (tenant, store_id) not in self._stores:
            raise not_found("vector store", store_id, field)
        return self._stores[tenant, store_id]

    async def vector_stores(
        self, tenant: str, limit: int = MAX_ROWS, after: VectorStoreRecord | None = None
    ) -> list[VectorStoreRecord]:
        stores = (store for (owner, _), store in self._stores.items() if owner == tenant)
        return _newest(stores, limit, after, _id)

    async def usage(self, tenant: str, store_ids: Sequence[str]) -> Mapping[str, StoreUsage]:
        usage: dict[str, StoreUsage] = {}
        for (owner, store_id, _), file in self._indexed.items():
            if owner == tenant and store_id in store_ids:
                held = usage.get(store_id, StoreUsage())
                usage[store_id] = StoreUsage(held.files + 1, held.size + file.size)
        return usage

    async def remove_vector_store(self, tenant: str, store_id: str) -> None:
        await self.vector_store(tenant, store_id)
        for rows in (self._indexed, self._changes):
            for key in [key for key in rows if key[:2] == (tenant, store_id)]:
                del rows[key]
        del self._stores[tenant, store_id]

    async def begin_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        if change.attached is not None:
            check_storable("attributes", change.attached.attributes)
        await self.vector_store(tenant, change.store_id)
        begun = change, time.monotonic() + seconds
        return self._changes.setdefault((tenant, change.store_id, change.file_id), begun) is begun

    async def extend_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        if not self._is_running(tenant, change):
            return False
        self._changes[tenant, change.store_id, change.file_id] = change, time.monotonic() + seconds
        return True

    async def finish_change(self, tenant: str, change: FileChange) -> None:
        await self.vector_store(tenant, change.store_id)
        if not self._is_running(tenant, change):
            raise change_ended()
        key = tenant, change.store_id, change.file_id
        del self._changes[key]
        if change.attached is not None:
            self._indexed[key] = change.attached
        else:
            self._indexed.pop(key, None)

    async def abandon_change(self, tenant: str, change: FileChange) -> None:
        if self._is_running(tenant, change):
            del self._changes[tenant, change.store_id, change.file_id]

    async def claim_changes(self, tenant: str, seconds: float) -> list[FileChange]:
        now = time.monotonic()
        late = [change for key, (change, end) in self._changes.items() if key[0] == tenant and end <= now]
        for change in late:
            await self.extend_change(tenant, change, seconds)
        return late

    async def indexed(
        self, tenant: str, store_id: str, limit: int = MAX_ROWS, after: IndexedFile | None = None
    ) -> list[IndexedFile]:
        files = (file for key, file in self._indexed.items() if key[:2] == (tenant, store_id))
        return _newest(files, limit, after, lambda file: file.file_id)

    async def indexed_file(self, tenant: str, store_id: str, file_id: str, field: str = "file_id") -> IndexedFile:
        if (tenant, store_id, file_id) not in self._indexed:
            raise not_found("file in this vector store", file_id, field)
        return self._indexed[tenant, store_id, file_id]

    async def tenants(self) -> list[str]:
        return sorted({tenant for tenant, _ in (*self._objects, *self._stores)})

    async def expire_files(self, tenant: str, now: float) -> int:
        files = [key for key, file in self._files.items() if key[0] == tenant and _expired(file, now)]
        uploads = [key for key, (_, end) in self._uploads.items() if key[0] == tenant and end <= now]
        for key in files:
            del self._files[key]
        for key in uploads:
            del self._uploads[key]
        return len(files) + len(uploads)

    async def unreferenced(self, tenant: str) -> list[str]:
        return sorted(digest for owner, digest in self._objects if owner == tenant and not self._refers(owner, digest))

    async def unknown(self, tenant: str, digests: Sequence[str]) -> list[str]:
        return [digest for digest in digests if (tenant, digest) not in self._objects]

    async def collect(self, tenant: str, digest: str, delete: Callable[[], Awaitable[None]]) -> bool:
        async with self._collecting:
            if self._refers(tenant, digest):
                return False
            await delete()
            self._objects.discard((tenant, digest))
        return True

    async def forget(self, tenant: str) -> None:
        pass

    def _is_running(self, tenant: str, change: FileChange) -> bool:
        running = self._changes.get((tenant, change.store_id, change.file_id))
        return running is not None and running[0].id == change.id

    def _refers(self, tenant: str, digest: str) -> bool:
        files = (*self._files.items(), *((key, file) for key, (file, _) in self._uploads.items()))
        return any(owner == tenant and file.digest == digest for (owner, _), file in files)


def _expired(file: FileRecord, now: float) -> bool:
    return file.expires_at is not None and file.expires_at <= now


def _id(row: FileRecord | VectorStoreRecord) -> str:
    return row.id


def _newest(rows: Iterable[Row], limit: int, after: Row | None, row_id: Callable[[Row], str]) -> list[Row]:
    def key(row: Row) -> tuple[int, str]:
        return -row.created_at, row_id(row)

    return sorted((row for row in rows if after is None or key(row) > key(after)), key=key)[:limit]
