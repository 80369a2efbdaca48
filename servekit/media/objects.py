"""The object store: the media and files of each tenant by content address.

Under the store's root, which is a folder or a bucket:

    <tenant>/uploads/<random>       uploads in progress
    <tenant>/objects/<sha256>       files; the gateway's records refer to them, and it deletes those without a record
    <tenant>/transient/<sha256>     media of one request, deleted an hour after their last write
"""

import asyncio
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument, NotFound, TooLarge
from servekit.media.bucket import Bucket, checked_name
from servekit.media.staging import HashedChunks, StagedObject

TRANSIENT_SECONDS = 3600.0
# An upload may be in progress until it is this old.
MAX_UPLOAD_AGE_SECONDS = 24 * 3600.0
_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")


class ObjectStore:
    """Stores bytes by their hash. The objects of one tenant do not exist for another.

    Args:
        url: A folder, `s3://bucket/prefix`, or another URL that obstore opens.
        clock: Returns the time in seconds since 1970.

    Attributes:
        bucket: Where the bytes are.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self.bucket = Bucket(url)
        self._clock = clock

    async def stage(
        self, tenant: str, data: bytes | AsyncIterable[bytes], *, max_bytes: int | None = None, field: str = "file"
    ) -> StagedObject:
        """Store bytes that have no content address yet; a stream is hashed on its way, and never whole in memory.

        Raises:
            TooLarge: `data` has more than `max_bytes`; nothing is stored.
        """
        content = HashedChunks(data, max_bytes, field)
        path = f"{checked_name(tenant, 'tenant')}/uploads/{uuid.uuid4().hex}"
        await self.bucket.put(path, content)
        return StagedObject(tenant, path, content.hash.hexdigest(), content.size)

    async def publish(self, staged: StagedObject) -> None:
        """Move staged bytes to their content address, where they stay until `delete`, a power loss included."""
        await self.bucket.sync(staged.path)
        await self.bucket.move(staged.path, _object(staged.tenant, staged.digest))
        await self.bucket.sync(f"{staged.tenant}/objects")

    async def discard(self, staged: StagedObject) -> None:
        """Delete staged bytes."""
        await self.bucket.remove(staged.path)

    async def put_transient(self, tenant: str, data: bytes | AsyncIterable[bytes]) -> str:
        """Store media of one request for `TRANSIENT_SECONDS`; storing the same bytes again prolongs that.

        Returns:
            The reference, `sha256:` and 64 hexadecimal digits.
        """
        staged = await self.stage(tenant, data)
        await self.bucket.move(staged.path, _transient(tenant, staged.digest))
        return staged.reference

    async def size(self, tenant: str, reference: str, field: str = "reference") -> int:
        """Return the size of an object in bytes.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: The tenant has no such object, or it has expired.
        """
        return (await self._find(tenant, reference, field))[1]

    async def read(self, tenant: str, reference: str, max_bytes: int, field: str = "reference") -> bytes:
        """Return the bytes of an object.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: The tenant has no such object, or it has expired.
            TooLarge: The object has more than `max_bytes`.
        """
        path = await self._bounded(tenant, reference, max_bytes, field)
        return b"".join([chunk async for chunk in self._stream(path, reference, field)])

    async def stream(
        self, tenant: str, reference: str, field: str = "reference", size: int | None = None
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of an object in chunks; raises as `size` does, before the first chunk.

        Args:
            size: The number of bytes that the object must have; another is damaged, and not found.
        """
        path, stored = await self._find(tenant, reference, field)
        if size not in (None, stored):
            raise _missing(reference, field)
        async for chunk in self._stream(path, reference, field):
            yield chunk

    async def resolve(self, media: Media, tenant: str, max_bytes: int, field: str) -> bytes:
        """Return the bytes of `media`, which are in the message or in this store.

        Raises:
            InvalidArgument: `media` has neither bytes nor a reference.
            NotFound: The tenant has no such object, or the object has expired.
            TooLarge: `media` has more than `max_bytes`.
        """
        if media.WhichOneof("source") == "reference":
            return await self.read(tenant, media.reference, max_bytes, f"{field}.reference")
        return _inline(media, max_bytes, field)

    @asynccontextmanager
    async def open(self, media: Media, tenant: str, max_bytes: int, field: str) -> AsyncIterator[BinaryIO]:
        """The bytes of `media` as a seekable file, never whole in memory unless they were in the message.

        An object of a bucket is first copied to an unnamed temporary file.

        Raises:
            InvalidArgument: `media` has neither bytes nor a reference.
            NotFound: The tenant has no such object, or the object has expired.
            TooLarge: `media` has more than `max_bytes`.
        """
        if media.WhichOneof("source") == "reference":
            with await self._file(tenant, media.reference, max_bytes, f"{field}.reference") as file:
                yield file
        else:
            yield BytesIO(_inline(media, max_bytes, field))

    async def delete(self, tenant: str, digest: str) -> None:
        """Delete the bytes at a content address, if there are any; transient media stay."""
        await self.bucket.remove(_object(tenant, digest))

    async def tenants(self) -> list[str]:
        """The tenants that have bytes in this store."""
        return await self.bucket.folders()

    async def digests(self, tenant: str, before: float) -> list[str]:
        """The digests of the tenant's objects that were last written before a time in seconds since 1970."""
        listed = await self.bucket.entries(f"{tenant}/objects")
        return [Path(path).name for path, modified in listed if modified < before]

    async def sweep(self, now: float) -> int:
        """Delete transient media that have expired by `now`, and uploads that never ended; return their number."""
        removed = 0
        for tenant in await self.tenants():
            for folder, seconds in (("transient", TRANSIENT_SECONDS), ("uploads", MAX_UPLOAD_AGE_SECONDS)):
                for path, modified in await self.bucket.entries(f"{tenant}/{folder}"):
                    if modified < now - seconds and await self._is_older(path, now - seconds):
                        await self.bucket.remove(path)
                        removed += 1
        await self.bucket.remove_partial("*/uploads/*", now - MAX_UPLOAD_AGE_SECONDS)
        return removed

    async def _is_older(self, path: str, before: float) -> bool:
        """Whether bytes were last written before a time, now that others were listed and deleted."""
        try:
            return (await self.bucket.stat(path))[1] < before
        except FileNotFoundError:
            return False

    async def _find(self, tenant: str, reference: str, field: str) -> tuple[str, int]:
        """The path and the size of an object."""
        checked_name(tenant, "tenant")
        digest = _digest(reference, field)
        try:
            return _object(tenant, digest), (await self.bucket.stat(_object(tenant, digest)))[0]
        except FileNotFoundError:
            pass
        try:
            size, written = await self.bucket.stat(_transient(tenant, digest))
        except FileNotFoundError:
            raise _missing(reference, field) from None
        if written < self._clock() - TRANSIENT_SECONDS:
            raise _missing(reference, field)
        return _transient(tenant, digest), size

    async def _bounded(self, tenant: str, reference: str, max_bytes: int, field: str) -> str:
        path, size = await self._find(tenant, reference, field)
        if size > max_bytes:
            raise TooLarge(f"an object must have at most {max_bytes} bytes, got {size}", field=field)
        return path

    async def _stream(self, path: str, reference: str, field: str) -> AsyncIterator[bytes]:
        try:
            async for chunk in self.bucket.stream(path):
                yield chunk
        except FileNotFoundError:
            raise _missing(reference, field) from None

    async def _file(self, tenant: str, reference: str, max_bytes: int, field: str) -> BinaryIO:
        path = await self._bounded(tenant, reference, max_bytes, field)
        if self.bucket.folder:
            try:
                return await asyncio.to_thread((self.bucket.folder / path).open, "rb")
            except FileNotFoundError:
                raise _missing(reference, field) from None
        copy = cast("BinaryIO", await asyncio.to_thread(tempfile.TemporaryFile))
        try:
            async for chunk in self._stream(path, reference, field):
                await asyncio.to_thread(copy.write, chunk)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy


def _inline(media: Media, max_bytes: int, field: str) -> bytes:
    data = media.inline  # each access copies it
    if not data:
        raise InvalidArgument("the medium must have bytes or a reference, got neither", field=field)
    if len(data) > max_bytes:
        raise TooLarge(f"the medium must have at most {max_bytes} bytes, got {len(data)}", field=f"{field}.inline")
    return data


def _digest(reference: str, field: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise InvalidArgument("a reference must be sha256: and 64 lower-case hexadecimal digits", field=field)
    return match[1]


def _missing(reference: str, field: str) -> NotFound:
    return NotFound(f"no object {reference}", field=field)


def _object(tenant: str, digest: str) -> str:
    return f"{tenant}/objects/{digest}"


def _transient(tenant: str, digest: str) -> str:
    return f"{tenant}/transient/{digest}"
