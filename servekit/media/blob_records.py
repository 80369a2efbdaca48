"""Records of a tenant that each own a blob, `<tenant>/blobs/<random>`: voices, sound models."""

import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Generic, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from servekit.echo import cut
from servekit.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ServeError, TooLarge
from servekit.media.bucket import checked_name
from servekit.media.objects import ObjectStore
from servekit.media.records import RecordStore

log = logging.getLogger(__name__)

_BLOB = "blob:"


class BlobRecord(Protocol):
    """A dataclass whose `reference` names bytes in the object store."""

    @property
    def reference(self) -> str:
        """The name of the bytes, `blob:<random>`; records of version 0.1 share objects, `sha256:<digest>`."""


Row = TypeVar("Row", bound=BlobRecord)


class BlobRecords(Generic[Row]):
    """Records of one kind, by tenant and name, each with the bytes that it refers to.

    Args:
        store: The object store of the records and of their bytes.
        kind: The kind of the records, such as `sound-model`.
        row: The dataclass of a record.
    """

    def __init__(self, store: ObjectStore, kind: str, row: type[Row]) -> None:
        self._objects = store
        self._store = RecordStore(store.bucket)
        self._kind = kind
        self._noun = kind.replace("-", " ")
        self._rows = TypeAdapter(row)

    async def names(self, tenant: str) -> list[str]:
        """Return the names of the records, damaged ones included, in order."""
        return await self._store.record_names(tenant, self._kind)

    async def all(self, tenant: str) -> dict[str, Row]:
        """Return the records by name; those that are damaged are left out."""
        records: dict[str, Row] = {}
        for name, fields in (await self._store.list_records(tenant, self._kind)).items():
            try:
                records[name] = self._rows.validate_python(fields)
            except ValidationError:
                log.warning("the record of the %s %s of tenant %s is damaged", self._noun, name, tenant)
        return records

    async def get(self, tenant: str, name: str, field: str = "name") -> Row:
        """Return a record.

        Raises:
            NotFound: The tenant has no record of this name.
            FailedPrecondition: The record is damaged.
        """
        try:
            return self._rows.validate_python(await self._store.get_record(tenant, self._kind, name))
        except ValidationError as error:
            raise self.damaged(name, field) from error
        except (NotFound, InvalidArgument):
            if name in await self.names(tenant):  # its file is empty, or holds no JSON
                raise self.damaged(name, field) from None
            raise self.not_found(name, field) from None

    async def read(self, tenant: str, name: str, record: Row, max_bytes: int, field: str = "name") -> bytes:
        """Return the bytes of a record.

        Raises:
            FailedPrecondition: The bytes are missing, or more than `max_bytes`.
        """
        try:
            if not record.reference.startswith(_BLOB):
                return await self._objects.read(tenant, record.reference, max_bytes, field)
            path = _path(tenant, record.reference)
            size, _ = await self._objects.bucket.stat(path)
            if size > max_bytes:
                raise TooLarge(f"the {self._noun} must have at most {max_bytes} bytes, got {size}", field=field)
            return await self._objects.bucket.read(path)
        except (NotFound, InvalidArgument, FileNotFoundError) as error:
            raise self.damaged(name, field) from error

    @asynccontextmanager
    async def blob(self, tenant: str, data: bytes) -> AsyncIterator[str]:
        """Store bytes for a record that the body creates with this reference; delete them if the body fails."""
        reference = _BLOB + uuid.uuid4().hex
        await self._objects.bucket.put(_path(tenant, reference), data)
        try:
            yield reference
        except BaseException:
            try:
                await self._delete_blob(tenant, reference)
            except ServeError as error:
                log.warning("%s of tenant %s is stored for no %s: %s", reference, tenant, self._noun, error.message)
            raise

    async def create(self, tenant: str, name: str, record: Row) -> None:
        """Create a record.

        Raises:
            AlreadyExists: The tenant has a record of this name; of several calls at once, one succeeds.
        """
        try:
            fields = self._rows.dump_python(record, mode="json")
            await self._store.create_record(tenant, self._kind, name, fields)
        except AlreadyExists:
            raise self.exists(name) from None

    async def delete(self, tenant: str, name: str, field: str = "name") -> None:
        """Delete a record, damaged or not, after its bytes: a deletion that fails midway can be repeated.

        Raises:
            NotFound: The tenant has no record of this name.
        """
        if name not in await self.names(tenant):
            raise self.not_found(name, field)
        with suppress(NotFound, InvalidArgument, FailedPrecondition):  # the record is damaged, or has no bytes
            await self._delete_blob(tenant, (await self.get(tenant, name)).reference, name)
        await self._store.delete_record(tenant, self._kind, name)

    def exists(self, name: str) -> AlreadyExists:
        """The error for a name that is in use."""
        return AlreadyExists(f"a {self._noun} named {cut(name)!r} already exists", field="name")

    def not_found(self, name: str, field: str = "name") -> NotFound:
        """The error for a name without a record."""
        return NotFound(f"no {self._noun} named {cut(name)!r}", field=field)

    def damaged(self, name: str, field: str = "name") -> FailedPrecondition:
        """The error for a record that cannot be read, or whose bytes cannot."""
        return FailedPrecondition(
            f"the {self._noun} {cut(name)!r} is damaged: delete it and create it again", field=field
        )

    async def _delete_blob(self, tenant: str, reference: str, name: str = "") -> None:
        """Delete bytes, unless another record than `name` refers to them."""
        if reference.startswith(_BLOB):
            await self._objects.bucket.remove(_path(tenant, reference))
        elif all(other.reference != reference for key, other in (await self.all(tenant)).items() if key != name):
            await self._store.delete_record(tenant, "object", reference.removeprefix("sha256:"))  # the bytes are swept


def _path(tenant: str, reference: str) -> str:
    name = checked_name(reference.removeprefix(_BLOB), "reference")
    return f"{checked_name(tenant, 'tenant')}/blobs/{name}"
