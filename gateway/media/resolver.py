"""Media as callers give them: inside the request, at an address, or as a file that they uploaded."""

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
# How long the object store keeps what a service only passes through, in seconds.
PASSING_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class UrlSource:
    """Media at an http(s) address."""

    url: str


@dataclass(frozen=True, slots=True)
class FileId:
    """Media that the tenant uploaded as a file."""

    id: str


MediaSource = Media | UrlSource | FileId


class Fetching(Protocol):
    """What gets the bytes of a URL, and only from where that is allowed."""

    async def fetch(self, url: str, field: str) -> tuple[bytes, str]:
        """The bytes and their media type."""


def parse_media_source(text: str, field: str) -> MediaSource:
    """Where `text` says the media are: a data URL, an http(s) URL or a file id.

    Raises:
        InvalidArgument: It is none of them.
    """
    if text.startswith("data:"):
        head, comma, data = text[5:].partition(",")
        mime_type, *options = head.split(";")
        if not comma or "base64" not in options:
            raise InvalidArgument("a data URL has to be data:<media type>;base64,<data>", field=field)
        return inline(data, mime_type, field)
    if text.startswith(("http://", "https://")):
        return UrlSource(text)
    if text.startswith(FILE_PREFIX):
        return FileId(text)
    raise InvalidArgument("this has to be a data: URL, an http(s) URL or a file id", field=field)


def inline(data: str, mime_type: str, field: str) -> Media:
    """Media given as base64.

    Raises:
        InvalidArgument: It is not base64, or nothing.
    """
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"this is not base64: {error}", field=field) from error
    if not content:
        raise InvalidArgument("this is empty", field=field)
    return Media(mime_type=mime_type, inline=content)


def address(media: Media) -> str:
    """The content's address: the same bytes have the same one."""
    return media.reference or f"sha256:{hashlib.sha256(media.inline).hexdigest()}"


class MediaResolver:
    """Makes what callers give into what services take.

    Args:
        store: Where large media wait for their service.
        records: The files.
        fetcher: Gets what lies at a URL.
        inline_bytes: Media above this go by reference.
    """

    def __init__(self, store: ObjectStore, records: Records, fetcher: Fetching, inline_bytes: int) -> None:
        self._store, self._records, self._fetcher = store, records, fetcher
        self._inline_bytes = inline_bytes

    async def media(self, located: MediaSource, tenant: str, limit: int, field: str) -> Media:
        """The media, inline or by reference.

        Args:
            limit: How many bytes they may have.

        Raises:
            TooLarge: They have more.
            NotFound: There is no such file.
            InvalidArgument: The address is not one that may be fetched.
        """
        if isinstance(located, FileId):
            record = await self._records.file(tenant, located.id, field)
            self._check(record.size, limit, field)
            return Media(mime_type=record.mime_type, reference=record.reference)
        if isinstance(located, UrlSource):
            return await self.carry(*await self._fetcher.fetch(located.url, field), tenant, limit, field)
        return await self.carry(located.inline, located.mime_type, tenant, limit, field)

    async def carry(self, data: bytes, mime_type: str, tenant: str, limit: int, field: str) -> Media:
        """Bytes as media: inline while they are small, by reference above.

        Raises:
            TooLarge: They are more than `limit`.
        """
        self._check(len(data), limit, field)
        if len(data) <= self._inline_bytes:
            return Media(mime_type=mime_type, inline=data)
        return Media(mime_type=mime_type, reference=await self._store.put(tenant, data, mime_type, PASSING_SECONDS))

    @staticmethod
    def _check(size: int, limit: int, field: str) -> None:
        if size > limit:
            raise TooLarge(f"{size} bytes are more than the {limit} that are taken here", field=field)
