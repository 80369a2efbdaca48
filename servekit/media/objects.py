"""The object store: a tenant's media and documents by content address, and the small records kept beside them.

Under the store's root, which is a folder or a bucket:

    <tenant>/uploads/<random>                 bytes that are still arriving
    <tenant>/objects/<sha256>                 the bytes of an object
    <tenant>/records/object/<sha256>.json     its MIME type, size and expiry; without this it cannot be read
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

from servekit.media.records import RecordStore, answering, checked_name
from servekit.rpc.errors import InvalidArgument, NotFound, TooLarge

_REFERENCE = re.compile(r"sha256:([0-9a-f]{64})")
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+( *; *[\w.+-]+=[\w.+\"-]+)*", re.ASCII)
_ABOUT = "object"

# Bytes that belong to nothing are an upload in progress until they are this old.
_UPLOAD_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class About:
    """What is known of an object.

    Attributes:
        mime_type: As it was stated.
        size: In bytes.
        expires: The moment, in seconds since 1970, after which it is gone; None for never.
    """

    mime_type: str
    size: int
    expires: float | None


class ObjectStore(RecordStore):
    """Keeps bytes under their hash. What one tenant has stored does not exist for another.

    Args:
        url: A folder, or `s3://bucket/prefix` and whatever else obstore opens.
        clock: Seconds since 1970.
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
        """Keep `data`, which is never held in memory whole if it is a stream, for `ttl` seconds, or for ever.

        Storing what is there already prolongs its life; it never shortens it.

        Returns:
            The reference, `sha256:` and 64 hexadecimal digits.

        Raises:
            InvalidArgument: The MIME type is none.
            TooLarge: More than `max_bytes`; nothing is kept.
        """
        mime_type = mime_type or "application/octet-stream"
        if len(mime_type) > 255 or not _MIME_TYPE.fullmatch(mime_type):
            raise InvalidArgument(f"{mime_type[:80]!r} is not a MIME type", field="mime_type")
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
                before = await self._about(tenant, digest)
                if expires is not None:
                    expires = None if before.expires is None else max(expires, before.expires)
            await self.put_record(tenant, _ABOUT, digest, asdict(About(mime_type, content.size, expires)))
        return f"sha256:{digest}"

    async def about(self, tenant: str, reference: str, field: str = "reference") -> About:
        """What is known of an object.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: This tenant has no such object, or no more.
        """
        missing = NotFound(f"there is no object {reference}", field=field)
        digest = _digest(reference, field)
        try:
            about = await self._about(tenant, digest)
            with answering():
                stored = await obstore.head_async(self._store, _object(tenant, digest))
        except (NotFound, FileNotFoundError):
            raise missing from None
        if stored["size"] != about.size or (about.expires is not None and about.expires <= self._clock()):
            raise missing
        return about

    async def read(self, tenant: str, reference: str, max_bytes: int, field: str = "reference") -> bytes:
        """An object's bytes.

        Raises:
            InvalidArgument: The reference is malformed.
            NotFound: This tenant has no such object, or no more.
            TooLarge: It has more than `max_bytes`.
        """
        await self._fitting(tenant, reference, max_bytes, field)
        return b"".join([chunk async for chunk in self.stream(tenant, reference, field)])

    async def stream(self, tenant: str, reference: str, field: str = "reference") -> AsyncIterator[bytes]:
        """An object's bytes in pieces; raises as `about` does, before the first."""
        await self.about(tenant, reference, field)
        with answering():
            try:
                found = await obstore.get_async(self._store, _object(tenant, _digest(reference, field)))
            except FileNotFoundError:
                raise NotFound(f"there is no object {reference}", field=field) from None
            async for chunk in found.stream(min_chunk_size=1 << 20):
                yield bytes(chunk)

    async def resolve(self, media: Media, tenant: str, max_bytes: int, field: str) -> bytes:
        """The bytes of `media`, carried in the message or kept here.

        Raises:
            InvalidArgument: It has neither bytes nor a reference.
            NotFound: This tenant has no such object, or no more.
            TooLarge: More than `max_bytes`.
        """
        if media.WhichOneof("source") == "reference":
            return await self.read(tenant, media.reference, max_bytes, f"{field}.reference")
        return _inline(media, max_bytes, field)

    @asynccontextmanager
    async def open(self, media: Media, tenant: str, max_bytes: int, field: str) -> AsyncIterator[BinaryIO]:
        """The bytes of `media` as a file to read and seek in, never whole in memory unless the message carried them.

        What lies in a bucket is first copied to an unnamed temporary file.

        Raises:
            InvalidArgument: It has neither bytes nor a reference.
            NotFound: This tenant has no such object, or no more.
            TooLarge: More than `max_bytes`.
        """
        if media.WhichOneof("source") == "reference":
            with await self._file(tenant, media.reference, max_bytes, f"{field}.reference") as file:
                yield file
        else:
            yield BytesIO(_inline(media, max_bytes, field))

    async def _file(self, tenant: str, reference: str, max_bytes: int, field: str) -> BinaryIO:
        await self._fitting(tenant, reference, max_bytes, field)
        if self._folder:
            try:
                return await asyncio.to_thread((self._folder / _object(tenant, _digest(reference, field))).open, "rb")
            except FileNotFoundError:
                raise NotFound(f"there is no object {reference}", field=field) from None
        copy = cast("BinaryIO", await asyncio.to_thread(tempfile.TemporaryFile))
        try:
            async for chunk in self.stream(tenant, reference, field):
                await asyncio.to_thread(copy.write, chunk)
        except BaseException:
            copy.close()
            raise
        copy.seek(0)
        return copy

    async def _fitting(self, tenant: str, reference: str, max_bytes: int, field: str) -> None:
        about = await self.about(tenant, reference, field)
        if about.size > max_bytes:
            raise TooLarge(f"the object has {about.size} bytes, at most {max_bytes} are accepted", field=field)

    async def delete(self, tenant: str, reference: str, field: str = "reference") -> None:
        """Remove an object, whatever else of the tenant refers to it; raises as `about` does."""
        await self.about(tenant, reference, field)
        await self._forget(tenant, _digest(reference, field))

    async def collect_garbage(self, now: float) -> int:
        """Remove what has expired by `now`, and uploads that were never finished. Returns the number of objects."""
        removed = 0
        with answering():
            tenants = (await obstore.list_with_delimiter_async(self._store))["common_prefixes"]
        for tenant in tenants:
            known = {Path(path).stem for path, _ in await self._list(f"{tenant}/records/{_ABOUT}")}
            for digest in known:
                async with self._publishing:  # a put may be prolonging it
                    with suppress(NotFound):
                        about = await self._about(tenant, digest)
                        if about.expires is not None and about.expires <= now:
                            await self._forget(tenant, digest)
                            removed += 1
            for folder in ("uploads", "objects"):
                for path, modified in await self._list(f"{tenant}/{folder}"):
                    if Path(path).name not in known and modified < now - _UPLOAD_SECONDS:
                        await self._remove(path)
        if self._folder:
            await asyncio.to_thread(_sweep, self._folder, now - _UPLOAD_SECONDS)
        return removed

    async def _about(self, tenant: str, digest: str) -> About:
        return About(**await self.get_record(tenant, _ABOUT, digest))

    async def _forget(self, tenant: str, digest: str) -> None:
        await self.delete_record(tenant, _ABOUT, digest)
        await self._remove(_object(tenant, digest))


class _Counted:
    """Passes chunks on, hashing and bounding them on their way."""

    def __init__(self, chunks: AsyncIterable[bytes], max_bytes: int | None, field: str) -> None:
        self._chunks, self._max_bytes, self._field = chunks, max_bytes, field
        self.hash = hashlib.sha256()
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self._max_bytes is not None and self.size > self._max_bytes:
                raise TooLarge(f"more than {self._max_bytes} bytes", field=self._field)
            self.hash.update(chunk)
            yield chunk


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _inline(media: Media, max_bytes: int, field: str) -> bytes:
    data = media.inline  # each look at it copies it
    if not data:
        raise InvalidArgument("neither bytes nor a reference", field=field)
    if len(data) > max_bytes:
        raise TooLarge(f"{len(data)} bytes, at most {max_bytes} are accepted", field=f"{field}.inline")
    return data


def _sweep(folder: Path, before: float) -> None:
    """Remove the parts of uploads that a dead process left; a listing does not show them."""
    for part in folder.glob("*/uploads/*#*"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                part.unlink()


def _digest(reference: str, field: str) -> str:
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise InvalidArgument("a reference is sha256: and 64 lower-case hexadecimal digits", field=field)
    return match[1]


def _object(tenant: str, digest: str) -> str:
    return f"{tenant}/objects/{digest}"
