"""The object store: the media and documents of each tenant by content address, with the records beside them.

Under the store's root, which is a folder or a bucket:

    <tenant>/uploads/<random>                 uploads in progress
    <tenant>/objects/<sha256>                 the bytes of an object
    <tenant>/records/object/<sha256>.json     the metadata of an object, which is not found without it
    <tenant>/records/<kind>/<name>.json       any other record
"""

import asyncio
import hashlib
import re
import tempfile
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

import obstore
from polyphony.type.v1.media_pb2 import Media

from servekit.echo import cut
from servekit.errors import InvalidArgument, NotFound, TooLarge
from servekit.media.records import RecordStore, answering, checked_name

_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=[\w.+\"-]+)*", re.ASCII)
_METADATA = "object"

# Bytes without metadata may belong to an upload in progress until they are this old.
_UPLOAD_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """The metadata of an object.

    Attributes:
        mime_type: The MIME type that the caller stated.
        size: The size of the object in bytes.
        expires: When the object expires, in seconds since 1970; None for never.
    """

    mime_type: str
    size: int
    expires: float | None


class ObjectStore(RecordStore):
    """Stores bytes by their hash. The objects of one tenant do not exist for another.

    Args:
        url: A folder, `s3://bucket/prefix`, or another URL that obstore opens.
        clock: Returns the time in seconds since 1970.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(url)
        self._folder = None if "://" in url else Path(url)
        self._clock = clock
        self._publishing = asyncio.Lock()

    async def put(
        self,
        tenant: str,
        data: bytes | AsyncIterable[bytes],
        mime_type: str,
        ttl: float | None,
        *,
        max_bytes: int | None = None,
        field: str = "file",
    ) -> str:
        """Store `data` for `ttl` seconds, or for ever; a stream is never whole in memory.

        Storing bytes that exist already may extend their lifetime; it never shortens it.

        Returns:
            The reference, `sha256:` and 64 hexadecimal digits.

        Raises:
            InvalidArgument: The MIME type is malformed.
            TooLarge: `data` has more than `max_bytes`; nothing is stored.
        """
        mime_type = mime_type or "application/octet-stream"
        if len(mime_type) > 255 or not _MIME_TYPE.fullmatch(mime_type):
            raise InvalidArgument(f"mime_type must be type/subtype, got {cut(mime_type)!r}", field="mime_type")
        content = _Counted(_once(data) if isinstance(data, bytes) else data, max_bytes, field)
        upload = f"{checked_name(tenant, 'tenant')}/uploads/{uuid.uuid4().hex}"
        with answering():
            await obstore.put_async(self._store, upload, content)
        digest = content.hash.hexdigest()
        expires = None if ttl is None else self._clock() + ttl
        async with self._publishing:
            with answering():
                await obstore.rename_async(self._store, upload, _object(tenant, digest))
            with suppress(NotFound):
                before = await self._metadata(tenant, digest)
                if expires is not None:
                    expires = None if before.expires is None else max(expires, before.expires)
            await self.put_record(tenant, _METADATA, digest, asdict(ObjectMetadata(mime_type, content.size, expires)))
        return f"sha256:{digest}"

    async def metadata(self, tenant: str, reference: str, field: str = "reference") -> ObjectMetadata:
        """Return the metadata of an object.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: The tenant has no such object, or the object has expired.
        """
        digest = _digest(reference, field)
        missing = NotFound(f"no object {reference}", field=field)
        try:
            metadata = await self._metadata(tenant, digest)
            with answering():
                stored = await obstore.head_async(self._store, _object(tenant, digest))
        except (NotFound, FileNotFoundError):
            raise missing from None
        if stored["size"] != metadata.size or (metadata.expires is not None and metadata.expires <= self._clock()):
            raise missing
        return metadata

    async def read(self, tenant: str, reference: str, max_bytes: int, field: str = "reference") -> bytes:
        """Return the bytes of an object.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: The tenant has no such object, or the object has expired.
            TooLarge: The object has more than `max_bytes`.
        """
        await self._check_size(tenant, reference, max_bytes, field)
        return b"".join([chunk async for chunk in self.stream(tenant, reference, field)])

    async def stream(self, tenant: str, reference: str, field: str = "reference") -> AsyncIterator[bytes]:
        """Yield the bytes of an object in chunks; raises as `metadata` does, before the first chunk."""
        await self.metadata(tenant, reference, field)
        with answering():
            try:
                found = await obstore.get_async(self._store, _object(tenant, _digest(reference, field)))
            except FileNotFoundError:
                raise NotFound(f"no object {reference}", field=field) from None
            async for chunk in found.stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

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

    async def _file(self, tenant: str, reference: str, max_bytes: int, field: str) -> BinaryIO:
        await self._check_size(tenant, reference, max_bytes, field)
        if self._folder:
            try:
                return await asyncio.to_thread((self._folder / _object(tenant, _digest(reference, field))).open, "rb")
            except FileNotFoundError:
                raise NotFound(f"no object {reference}", field=field) from None
        copy = cast("BinaryIO", await asyncio.to_thread(tempfile.TemporaryFile))
        try:
            async for chunk in self.stream(tenant, reference, field):
                await asyncio.to_thread(copy.write, chunk)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    async def _check_size(self, tenant: str, reference: str, max_bytes: int, field: str) -> None:
        metadata = await self.metadata(tenant, reference, field)
        if metadata.size > max_bytes:
            raise TooLarge(f"an object must have at most {max_bytes} bytes, got {metadata.size}", field=field)

    async def delete(self, tenant: str, reference: str, field: str = "reference") -> None:
        """Delete an object, even if records refer to it; raises as `metadata` does."""
        await self.metadata(tenant, reference, field)
        await self._delete(tenant, _digest(reference, field))

    async def collect_garbage(self, now: float) -> int:
        """Delete objects that have expired by `now`, and uploads that never finished; return the number of objects."""
        removed = 0
        with answering():
            tenants = (await obstore.list_with_delimiter_async(self._store))["common_prefixes"]
        for tenant in tenants:
            known = {Path(path).stem for path, _ in await self._list(f"{tenant}/records/{_METADATA}")}
            for digest in known:
                async with self._publishing:  # a put may be extending its lifetime
                    with suppress(NotFound):
                        metadata = await self._metadata(tenant, digest)
                        if metadata.expires is not None and metadata.expires <= now:
                            await self._delete(tenant, digest)
                            removed += 1
            for folder in ("uploads", "objects"):
                for path, modified in await self._list(f"{tenant}/{folder}"):
                    if Path(path).name not in known and modified < now - _UPLOAD_SECONDS:
                        await self._remove(path)
        if self._folder:
            await asyncio.to_thread(_sweep, self._folder, now - _UPLOAD_SECONDS)
        return removed

    async def _metadata(self, tenant: str, digest: str) -> ObjectMetadata:
        return ObjectMetadata(**await self.get_record(tenant, _METADATA, digest))

    async def _delete(self, tenant: str, digest: str) -> None:
        await self.delete_record(tenant, _METADATA, digest)
        await self._remove(_object(tenant, digest))


class _Counted:
    """An iterator over chunks that hashes and counts them."""

    def __init__(self, chunks: AsyncIterable[bytes], max_bytes: int | None, field: str) -> None:
        self._chunks, self._max_bytes, self._field = chunks, max_bytes, field
        self.hash = hashlib.sha256()
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self._max_bytes is not None and self.size > self._max_bytes:
                raise TooLarge(f"the upload must have at most {self._max_bytes} bytes", field=self._field)
            self.hash.update(chunk)
            yield chunk


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _inline(media: Media, max_bytes: int, field: str) -> bytes:
    data = media.inline  # each access copies it
    if not data:
        raise InvalidArgument("the medium must have bytes or a reference, got neither", field=field)
    if len(data) > max_bytes:
        raise TooLarge(f"the medium must have at most {max_bytes} bytes, got {len(data)}", field=f"{field}.inline")
    return data


def _sweep(folder: Path, before: float) -> None:
    """Delete the parts of uploads that a dead process left; listings do not show them."""
    for part in folder.glob("*/uploads/*#*"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                part.unlink()


def _digest(reference: str, field: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise InvalidArgument("a reference must be sha256: and 64 lower-case hexadecimal digits", field=field)
    return match[1]


def _object(tenant: str, digest: str) -> str:
    return f"{tenant}/objects/{digest}"
