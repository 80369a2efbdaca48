"""Files: their bytes in the object store and their records in the database."""

import logging
import re
from collections.abc import AsyncIterable, Iterable
from functools import partial

from gateway.media.resolver import FILE_PREFIX
from gateway.records import Records
from gateway.records.rows import FileRecord, fresh_id, now
from servekit.echo import cut
from servekit.errors import InvalidArgument, ServeError
from servekit.media.objects import MAX_UPLOAD_AGE_SECONDS, ObjectStore

log = logging.getLogger(__name__)

_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=[\w.+\"-]+)*", re.ASCII)


class Files:
    """Stores and deletes the files of every tenant; one whose upload was acknowledged is there until it is deleted.

    Several files may have the same bytes, which are stored once. A record refers to them before they are stored, and
    they are deleted only where no record does, so that neither an upload nor a deletion takes the bytes of another.

    Args:
        store: The object store of the bytes.
        records: The records of the files.
    """

    def __init__(self, store: ObjectStore, records: Records) -> None:
        self._store, self._records = store, records

    async def receive(
        self,
        tenant: str,
        chunks: AsyncIterable[bytes],
        filename: str,
        mime_type: str,
        *,
        max_bytes: int | None = None,
    ) -> FileRecord:
        """Store a file while it arrives. It is not listed or found until `Records.finish_upload`.

        Raises:
            FailedPrecondition: The gateway has no database.
            Unavailable: The database does not answer.
            InvalidArgument: The MIME type is malformed, or the file is empty.
            TooLarge: The file has more than `max_bytes`.
        """
        self._records.check_ready()  # before the file has arrived
        mime_type = mime_type or "application/octet-stream"
        if len(mime_type) > 255 or not _MIME_TYPE.fullmatch(mime_type):
            raise InvalidArgument(f"mime_type must be type/subtype, got {cut(mime_type)!r}", field="mime_type")
        staged = await self._store.stage(tenant, chunks, max_bytes=max_bytes)
        try:
            if not staged.size:
                raise InvalidArgument("file must not be empty", field="file")
            record = FileRecord(
                fresh_id(FILE_PREFIX), filename, staged.size, mime_type, "user_data", staged.reference, now()
            )
            await self._records.begin_upload(tenant, record)
        except BaseException:
            await self._store.discard(staged)
            raise
        try:
            await self._store.publish(staged)
        except BaseException:
            await self._store.discard(staged)
            await self.abandon(tenant, record)
            raise
        return record

    async def abandon(self, tenant: str, record: FileRecord) -> None:
        """Delete a file whose upload was not acknowledged; where that fails, a sweep deletes it later."""
        try:
            await self._records.abandon_upload(tenant, record.id)
            await self._collect(tenant, record.digest)
        except ServeError as error:
            log.warning("the refused upload %s is not deleted yet: %s", record.id, error.message)

    async def delete(self, tenant: str, file_id: str) -> None:
        """Delete a file, and its bytes unless another file has the same.

        Raises:
            NotFound: The tenant has no such file, or the file has expired.
        """
        record = await self._records.remove_file(tenant, file_id)
        try:
            await self._collect(tenant, record.digest)
        except ServeError as error:
            log.warning("the bytes of the deleted file %s are not deleted yet: %s", file_id, error.message)

    async def sweep(self, now: float) -> int:
        """Delete what has expired by `now` (seconds since 1970), and the bytes that no file refers to.

        Returns:
            The number of objects whose bytes were deleted.
        """
        removed = await self._store.sweep(now)
        if not self._records.ready:
            return removed
        for tenant in await self._records.tenants():
            await self._records.expire_files(tenant, now)
            removed += await self._collect_all(tenant, await self._records.unreferenced(tenant))
        for tenant in await self._store.tenants():
            stored = await self._store.digests(tenant, now - MAX_UPLOAD_AGE_SECONDS)
            removed += await self._collect_all(tenant, await self._records.unknown(tenant, stored))
        for tenant in await self._records.tenants():
            await self._records.forget(tenant)
        return removed

    async def _collect_all(self, tenant: str, digests: Iterable[str]) -> int:
        """Collect objects; one that fails does not keep the others."""
        removed, failures = 0, []
        for digest in digests:
            try:
                removed += await self._collect(tenant, digest)
            except ServeError as error:
                failures.append(error.message)
        if failures:
            log.warning("%d objects of tenant %s are not deleted yet: %s", len(failures), tenant, failures[0])
        return removed

    async def _collect(self, tenant: str, digest: str) -> bool:
        return await self._records.collect(tenant, digest, partial(self._store.delete, tenant, digest))
