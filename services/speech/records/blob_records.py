"""Records that each own bytes in the object store, `<tenant>/blobs/<kind>/<random>`: voices, anomaly detectors.

No two records share bytes. They are stored before their record and deleted after it, so that a record always has its
bytes; bytes that a crash left without a record are deleted by `sweep`.
"""

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from servekit.errors import AlreadyExists, FailedPrecondition, NotFound, ServeError
from servekit.media.bucket import Bucket, checked_name
from services.speech.records import RecordTable, record_exists, record_not_found, too_many_records

log = logging.getLogger(__name__)

# Bytes without a record may belong to a request in progress until they are this old.
REQUEST_SECONDS = 24 * 3600.0


class BlobRecord(Protocol):
    """A dataclass whose `reference` names bytes."""

    @property
    def reference(self) -> str:
        """The random name of the bytes."""


Row = TypeVar("Row", bound=BlobRecord)


class BlobRecords(Generic[Row]):
    """Records of one kind, by tenant and name, each with its bytes.

    Args:
        bucket: Where the bytes are.
        records: Where the records are.
        kind: The kind of the records, such as `sound-model`.
        row: The dataclass of a record.
    """

    def __init__(self, bucket: Bucket, records: RecordTable, kind: str, row: type[Row]) -> None:
        self._bucket, self._records, self._kind = bucket, records, kind
        self._noun = kind.replace("-", " ")
        self._rows = TypeAdapter(row)

    async def names(self, tenant: str) -> list[str]:
        """Return the names of the records, damaged ones included, in order."""
        return await self._records.names(tenant, self._kind)

    async def all(self, tenant: str) -> dict[str, Row]:
        """Return the records by name; those that are damaged are left out."""
        rows: dict[str, Row] = {}
        for name, fields in (await self._records.all(tenant, self._kind)).items():
            try:
                rows[name] = self._rows.validate_python(fields)
            except ValidationError:
                log.warning("the record of the %s %s of tenant %s is damaged", self._noun, name, tenant)
        return rows

    async def get(self, tenant: str, name: str, field: str = "name") -> Row:
        """Return a record.

        Raises:
            NotFound: The tenant has no record of this name.
            FailedPrecondition: The record is damaged.
        """
        try:
            return self._rows.validate_python(await self._records.get(tenant, self._kind, name))
        except ValidationError as error:
            raise self.damaged(name, field) from error
        except NotFound:
            raise self.not_found(name, field) from None

    async def read(self, tenant: str, name: str, record: Row, max_bytes: int, field: str = "name") -> bytes:
        """Return the bytes of a record.

        Raises:
            FailedPrecondition: The bytes are missing, or more than `max_bytes`.
        """
        path = self._path(tenant, record.reference)
        try:
            size, _ = await self._bucket.stat(path)
            if size <= max_bytes:
                return await self._bucket.read(path)
        except FileNotFoundError:
            pass
        raise self.damaged(name, field)

    @asynccontextmanager
    async def blob(self, tenant: str, data: bytes) -> AsyncIterator[str]:
        """Store bytes for a record that the body creates with this reference; delete them if the body fails."""
        reference = uuid.uuid4().hex
        path = self._path(tenant, reference)
        await self._bucket.put(path, data)
        for part in (path, path.rpartition("/")[0]):  # the bytes, and their name
            await self._bucket.sync(part)
        try:
            yield reference
        except BaseException:
            await self._remove(path)
            raise

    async def create(self, tenant: str, name: str, record: Row, limit: int | None = None) -> None:
        """Create a record.

        Args:
            limit: The maximum number of records of this kind that the tenant may have; None for no maximum.

        Raises:
            AlreadyExists: The tenant has a record of this name; of several calls at once, one succeeds.
            FailedPrecondition: The tenant has `limit` records of this kind.
        """
        fields: dict[str, Any] = self._rows.dump_python(record, mode="json")
        await self._records.create(tenant, self._kind, name, fields, limit)

    async def delete(self, tenant: str, name: str, field: str = "name") -> None:
        """Delete a record, damaged or not, and its bytes.

        Raises:
            NotFound: The tenant has no record of this name.
        """
        try:
            fields = await self._records.delete(tenant, self._kind, name)
        except NotFound:
            raise self.not_found(name, field) from None
        if reference := fields.get("reference"):
            await self._remove(self._path(tenant, reference))

    async def sweep(self, now: float) -> int:
        """Delete the bytes older than `REQUEST_SECONDS` at `now` (seconds since 1970) that have no record.

        Returns:
            The number of blobs that were deleted.
        """
        removed = 0
        for tenant in await self._bucket.folders():
            entries = await self._bucket.entries(f"{tenant}/blobs/{self._kind}")
            if old := {path for path, modified in entries if modified < now - REQUEST_SECONDS}:
                rows = (await self._records.all(tenant, self._kind)).values()
                orphans = old - {self._path(tenant, fields["reference"]) for fields in rows if fields.get("reference")}
                for path in orphans:
                    await self._bucket.remove(path)
                removed += len(orphans)
        return removed

    def exists(self, name: str) -> AlreadyExists:
        """The error for a name that is in use."""
        return record_exists(self._noun, name)

    def not_found(self, name: str, field: str = "name") -> NotFound:
        """The error for a name without a record."""
        return record_not_found(self._noun, name, field)

    def too_many(self, limit: int) -> FailedPrecondition:
        """The error for a tenant that has the maximum number of records."""
        return too_many_records(self._noun, limit)

    def damaged(self, name: str, field: str = "name") -> FailedPrecondition:
        """The error for a record that cannot be read, or whose bytes cannot."""
        return FailedPrecondition(f"the {self._noun} {name!r} is damaged: delete it and create it again", field=field)

    async def _remove(self, path: str) -> None:
        try:
            await self._bucket.remove(path)
        except ServeError as error:
            log.warning("the bytes of a %s are not deleted yet: %s", self._noun, error.message)

    def _path(self, tenant: str, reference: str) -> str:
        return f"{checked_name(tenant, 'tenant')}/blobs/{self._kind}/{checked_name(reference, 'reference')}"
