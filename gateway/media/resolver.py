"""The media of a request: bytes inside it, a URL, or the id of an uploaded file."""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Protocol

from polyphony.type.v1.media_pb2 import Media

from gateway.records import Records
from servekit.media.objects import ObjectStore
from servekit.rpc.errors import InvalidArgument, TooLarge

FILE_PREFIX = "file-"
# How long the object store keeps media that belong to one request, in seconds.
TRANSIENT_TTL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class InlineSource:
    """Media whose bytes are in the request."""

    data: bytes
    mime_type: str


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


def parse_media_source(text: str, field: str) -> MediaSource:
    """The source that `text` names: a data URL, an http(s) URL or a file id.

    Raises:
        InvalidArgument: It names none of these.
    """
    if text.startswith("data:"):
        head, comma, data = text[5:].partition(",")
        mime_type, *options = head.split(";")
        if not comma or "base64" not in options:
            raise InvalidArgument("a data URL must be data:<media type>;base64,<data>", field=field)
        return decode_base64(data, mime_type, field)
    if text.startswith(("http://", "https://")):
        return UrlSource(text)
    if text.startswith(FILE_PREFIX):
        return FileSource(text)
    raise InvalidArgument(f"{field} must be a data: URL, an http(s) URL or a file id", field=field)


def decode_base64(data: str, mime_type: str, field: str) -> InlineSource:
    """Media given as base64.

    Raises:
        InvalidArgument: The text is empty or not base64.
    """
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"{field} must be base64: {error}", field=field) from error
    if not content:
        raise InvalidArgument(f"{field} must not be empty", field=field)
    return InlineSource(content, mime_type)


def content_address(media: Media) -> str:
    """The content address of media: the same bytes have the same address."""
    return media.reference or f"sha256:{hashlib.sha256(media.inline).hexdigest()}"


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
            NotFound: The tenant has no such file.
            InvalidArgument: The URL must not be fetched, or cannot be.
        """
        match source:
            case Media(reference=""):  # bytes in the message
                if source.ByteSize() <= min(limit, self._max_inline_media_bytes):
                    return source
                data, mime_type = source.inline, source.mime_type
            case Media():
                return source
            case FileSource():
                record = await self._records.file(tenant, source.id, field)
                self._check(record.size, limit, field)
                return Media(mime_type=record.mime_type, reference=record.reference)
            case UrlSource():
                data, mime_type = await self._fetcher.fetch(source.url, field)
            case InlineSource():
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
        reference = await self._store.put(tenant, data, mime_type, TRANSIENT_TTL_SECONDS)
        return Media(mime_type=mime_type, reference=reference)

    @staticmethod
    def _check(size: int, limit: int, field: str) -> None:
        if size > limit:
            raise TooLarge(f"{field} must have at most {limit} bytes, got {size}", field=field)
