"""The records of files and vector stores: the port, and its implementations, chosen by the URL's scheme.

The bytes of files are in the object store, and vectors in the retrieval service.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, cast

from gateway.records.rows import MAX_ROWS, FileChange, FileRecord, IndexedFile, StoreUsage, VectorStoreRecord
from servekit.database.schemes import open_by_scheme

OPENERS = {
    "": "gateway.records.postgres:open_records",  # no database: every call is an error that names the setting
    "memory": "gateway.records.memory:MemoryRecords",
    "postgresql": "gateway.records.postgres:open_records",
    "postgres": "gateway.records.postgres:open_records",
}
# How long an upload that has its bytes may take to end, in seconds; longer than the deadline of its request.
PENDING_SECONDS = 3600


class Records(Protocol):
    """The records of every tenant. Any method raises as `check_ready` does.

    The bytes of an object are kept while a file, or the upload of one, refers to them.
    """

    @property
    def ready(self) -> bool | None:
        """Whether the database answers; None where none is configured."""

    def check_ready(self) -> None:
        """Check that the database answers.

        Raises:
            FailedPrecondition: No database is configured.
            Unavailable: The database does not answer.
        """

    async def start(self) -> None:
        """Begin to connect."""

    async def stop(self) -> None:
        """Close every connection."""

    async def begin_upload(self, tenant: str, file: FileRecord) -> None:
        """Record a file that is not found until `finish_upload`. Bytes that are stored from here on are kept.

        Bytes that are stored before may be deleted at any time. A file that is recorded already stays as it is.

        Raises:
            InvalidArgument: The filename has a character that cannot be stored.
        """

    async def finish_upload(self, tenant: str, file: FileRecord) -> None:
        """Complete the record of a file, with its purpose and expiry.

        Raises:
            Unavailable: The upload took longer than `PENDING_SECONDS`, or was abandoned.
        """

    async def abandon_upload(self, tenant: str, file_id: str) -> None:
        """Delete the record of a file, if there is one, whether or not its upload has ended."""

    async def file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        """Return a file.

        Raises:
            NotFound: The tenant has no such file, or the file has expired.
        """

    async def files(
        self, tenant: str, limit: int = MAX_ROWS, after: FileRecord | None = None, purpose: str = ""
    ) -> list[FileRecord]:
        """Return the tenant's files, newest first: at most `limit`, those after a file, those of a purpose."""

    async def remove_file(self, tenant: str, file_id: str, field: str = "file_id") -> FileRecord:
        """Delete the record of a file and return it.

        Raises:
            NotFound: The tenant has no such file, or the file has expired.
        """

    async def add_vector_store(self, tenant: str, record: VectorStoreRecord) -> None:
        """Record a vector store, unless it is recorded already.

        Raises:
            InvalidArgument: The name or the metadata have a character that cannot be stored.
        """

    async def vector_store(self, tenant: str, store_id: str, field: str = "vector_store_id") -> VectorStoreRecord:
        """Return a vector store.

        Raises:
            NotFound: The tenant has no such vector store.
        """

    async def vector_stores(
        self, tenant: str, limit: int = MAX_ROWS, after: VectorStoreRecord | None = None
    ) -> list[VectorStoreRecord]:
        """Return the tenant's vector stores, newest first: at most `limit`, those after a vector store."""

    async def usage(self, tenant: str, store_ids: Sequence[str]) -> Mapping[str, StoreUsage]:
        """Return what vector stores hold; those without files are left out."""

    async def remove_vector_store(self, tenant: str, store_id: str) -> None:
        """Delete the record of a vector store with those of its files.

        Raises:
            NotFound: The tenant has no such vector store.
        """

    async def begin_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        """Record a change that is to end within `seconds`; return False where a change of the file has not ended.

        Raises:
            NotFound: The tenant has no such vector store.
            InvalidArgument: The attributes have a character that cannot be stored.
        """

    async def extend_change(self, tenant: str, change: FileChange, seconds: float) -> bool:
        """Let a change end within `seconds` from now; return whether it is still recorded."""

    async def finish_change(self, tenant: str, change: FileChange) -> None:
        """End a change: the vector store holds the attached file, in place of an earlier record, or the file no longer.

        Raises:
            NotFound: The vector store was deleted meanwhile.
            Unavailable: The change is no longer recorded: it took too long, and was ended.
        """

    async def abandon_change(self, tenant: str, change: FileChange) -> None:
        """End a change, if it is still recorded; the vector store holds what it held before."""

    async def claim_changes(self, tenant: str, seconds: float) -> list[FileChange]:
        """Return the changes that did not end in time; no other gateway gets them within `seconds`."""

    async def indexed(
        self, tenant: str, store_id: str, limit: int = MAX_ROWS, after: IndexedFile | None = None
    ) -> list[IndexedFile]:
        """Return the files of a vector store, newest first: at most `limit`, those after a file."""

    async def indexed_file(self, tenant: str, store_id: str, file_id: str, field: str = "file_id") -> IndexedFile:
        """Return a file of a vector store.

        Raises:
            NotFound: The vector store has no such file.
        """

    async def tenants(self) -> list[str]:
        """Return the tenants that have records."""

    async def expire_files(self, tenant: str, now: float) -> int:
        """Delete the files, and the uploads, that have expired by `now` (seconds since 1970); return how many."""

    async def unreferenced(self, tenant: str) -> list[str]:
        """Return the digests of objects that no file refers to."""

    async def unknown(self, tenant: str, digests: Sequence[str]) -> list[str]:
        """Return those of the digests that have no record."""

    async def collect(self, tenant: str, digest: str, delete: Callable[[], Awaitable[None]]) -> bool:
        """Delete the bytes and the record of an object, unless a file refers to it; return whether they were deleted.

        An upload of the same bytes waits meanwhile. Where `delete` fails, the record stays.
        """

    async def forget(self, tenant: str) -> None:
        """Delete the record of a tenant that has no other records."""


def open_records(url: str, connections: int) -> Records:
    """Return the records that a URL names, not yet started.

    Args:
        url: `memory:`, `postgresql://user:password@host/database`, or empty for none.
        connections: The number of connections that they may hold to their database.

    Raises:
        FailedPrecondition: No records have the URL's scheme.
    """
    return cast("Records", open_by_scheme(url, connections, OPENERS))
