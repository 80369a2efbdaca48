"""The media of a request: bytes inside it, a URL, or the id of an uploaded file."""

import asyncio
import binascii
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from polyphony.type.v1.media_pb2 import Media

from gateway.chunks import chain, each
from gateway.records import Records
from gateway.schemas.media_text import MediaText
from servekit.errors import InvalidArgument, TooLarge
from servekit.media.objects import ObjectStore

FILE_PREFIX = "file-"
MAX_HEAD = 256  # characters of a data URL before its data
LARGE_BYTES = 1 << 20  # that are hashed in a thread: 1 MiB takes a millisecond or two


@dataclass(frozen=True, slots=True)
class InlineSource:
    """Media whose bytes are in the request, in pieces."""

    pieces: Sequence[bytes]
    mime_type: str

    @property
    def size(self) -> int:
        """The number of bytes."""
        return sum(map(len, self.pieces))

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class UrlSource:
    """Media at an http(s) URL."""

    url: str


@dataclass(frozen=True, slots=True)
class FileSource:
    """Media that the tenant uploaded as a file."""

    id: str


MediaSource = Media | InlineSource | UrlSource | FileSource


class Fetching(Protocol):
    """Downloads the bytes behind a URL, from allowed hosts only."""

    async def fetch(self, url: str, field: str) -> tuple[bytes, str]:
        """The bytes and their media type."""


def parse_media_source(source: str | MediaText, field: str) -> MediaSource:
    """The source that a text names: a data URL, an http(s) URL or a file id.

    Raises:
        InvalidArgument: It names none of these.
    """
    text = source if isinstance(source, str) else source.text
    if text.startswith("data:"):
        comma = text.find(",", 0, MAX_HEAD)
        mime_type, *options = text[5 : max(comma, 5)].split(";")
        if "base64" not in options:
            raise InvalidArgument(f"{field} must be data:<media type>;base64,<data>", field=field)
        return decode_base64(source, mime_type, field, start=comma + 1)
    if text.startswith(("http://", "https://")):
        return UrlSource(text)
    if text.startswith(FILE_PREFIX):
        return FileSource(text)
    raise InvalidArgument(f"{field} must be a data: URL, an http(s) URL or a file id", field=field)


def decode_base64(source: str | MediaText, mime_type: str, field: str, start: int = 0) -> InlineSource:
    """Media given as base64, from index `start` of the text on, unless it was decoded while the body arrived.

    Raises:
        InvalidArgument: There are no bytes, or they are not base64.
    """
    text = source if isinstance(source, str) else source.text
    if isinstance(source, MediaText) and source.content is not None:
        pieces, error = source.content, source.error
    else:
        try:  # a slice of a large text would be a copy
            pieces, error = [binascii.a2b_base64(memoryview(text.encode("ascii"))[start:], strict_mode=True)], ""
        except (binascii.Error, ValueError) as invalid:
            pieces, error = [], str(invalid)
    if error:
        raise InvalidArgument(f"{field} must be base64: {error}", field=field)
    if not any(pieces):
        raise InvalidArgument(f"{field} must not be empty", field=field)
    return InlineSource(pieces, mime_type)


async def content_address(media: Media) -> str:
    """The content address of media: the same bytes have the same address."""
    if media.reference:
        return media.reference
    data = media.inline
    hashed = hashlib.sha256(data) if len(data) <= LARGE_BYTES else await asyncio.to_thread(hashlib.sha256, data)
    return f"sha256:{hashed.hexdigest()}"


class MediaResolver:
    """Turns what callers give into the `Media` messages that services take.

    Args:
        store: Holds large media until their service reads them.
        records: The uploaded files.
        fetcher: Downloads the bytes behind a URL.
        max_inline_media_bytes: Media above this size are sent by reference.
    """

    def __init__(self, store: ObjectStore, records: Records, fetcher: Fetching, max_inline_media_bytes: int) -> None:
        self._store, self._records, self._fetcher = store, records, fetcher
        self._max_inline_media_bytes = max_inline_media_bytes

    async def resolve(self, source: MediaSource, tenant: str, limit: int, field: str) -> Media:
        """The media of a source, inline or by reference.

        Args:
            limit: The most bytes that the media may have.

        Raises:
            TooLarge: The media have more than `limit` bytes.
            NotFound: The tenant has no such file or object.
            InvalidArgument: The reference is malformed, or the URL must not be fetched, or cannot be.
        """
        match source:
            case Media(reference=""):  # bytes in the message
                if source.ByteSize() <= min(limit, self._max_inline_media_bytes):
                    return source
                data, mime_type = source.inline, source.mime_type
            case Media():
                self._check(await self._store.size(tenant, source.reference, field), limit, field)
                return source
            case FileSource():
                record = await self._records.file(tenant, source.id, field)
                self._check(record.size, limit, field)
                return Media(mime_type=record.mime_type, reference=record.reference)
            case UrlSource():
                data, mime_type = await self._fetcher.fetch(source.url, field)
            case InlineSource():
                self._check(source.size, limit, field)
                if source.size > self._max_inline_media_bytes:
                    return await self.store(each(source.pieces), source.mime_type, tenant)
                data, mime_type = source.data, source.mime_type
        return await self.to_media(data, mime_type, tenant, limit, field)

    async def to_media(self, data: bytes, mime_type: str, tenant: str, limit: int, field: str) -> Media:
        """Bytes as media: inline up to `max_inline_media_bytes`, by reference above.

        Raises:
            TooLarge: There are more than `limit` bytes.
        """
        self._check(len(data), limit, field)
        if len(data) <= self._max_inline_media_bytes:
            return Media(mime_type=mime_type, inline=data)
        return await self.store(data, mime_type, tenant)

    async def receive(self, chunks: AsyncIterator[bytes], mime_type: str, tenant: str, field: str) -> Media:
        """Media as they arrive: inline up to `max_inline_media_bytes`, streamed to the object store above.

        Raises:
            InvalidArgument: There are no bytes.
        """
        head, size = [], 0
        async for chunk in chunks:
            head.append(chunk)
            size += len(chunk)
            if size > self._max_inline_media_bytes:
                return await self.store(chain(head, chunks), mime_type, tenant)
        if not size:
            raise InvalidArgument(f"{field} must not be empty", field=field)
        return Media(mime_type=mime_type, inline=head[0] if len(head) == 1 else b"".join(head))

    async def store(self, data: bytes | AsyncIterable[bytes], mime_type: str, tenant: str) -> Media:
        """Media by reference, stored as long as a request may take."""
        return Media(mime_type=mime_type, reference=await self._store.put_transient(tenant, data))

    @staticmethod
    def _check(size: int, limit: int, field: str) -> None:
        if size > limit:
            raise TooLarge(f"{field} must have at most {limit} bytes, got {size}", field=field)
