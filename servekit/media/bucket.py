"""Bytes by path, in a folder or in a bucket."""

import asyncio
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from servekit.echo import cut
from servekit.errors import InvalidArgument, Unavailable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
CHUNK_BYTES = 128 << 10  # of a stream: each client that does not read holds a few


class Bucket:
    """Bytes by path, written whole or not at all. Any method raises `Unavailable` where the store does not answer.

    Args:
        url: A folder, `s3://bucket/prefix`, or another URL that obstore opens.

    Attributes:
        folder: The folder; None for a bucket.
    """

    def __init__(self, url: str) -> None:
        self.folder = None if "://" in url else Path(url)
        self._store = LocalStore(prefix=url, mkdir=True) if self.folder else from_url(url)

    async def put(self, path: str, data: bytes | AsyncIterable[bytes]) -> None:
        """Write bytes to a path, and replace those that it has."""
        with _answering():
            await obstore.put_async(self._store, path, data)

    async def move(self, source: str, target: str) -> None:
        """Move bytes from one path to another, and replace those that it has."""
        with _answering():
            await obstore.rename_async(self._store, source, target)

    async def stat(self, path: str) -> tuple[int, float]:
        """Return the size in bytes, and the time of the last write in seconds since 1970.

        Raises:
            FileNotFoundError: There is nothing at the path; `read` and `stream` raise it, too.
        """
        with _answering():
            found = await obstore.head_async(self._store, path)
        return found["size"], found["last_modified"].timestamp()

    async def read(self, path: str) -> bytes:
        """Return the bytes at a path, all in memory."""
        with _answering():
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """Yield the bytes in chunks."""
        with _answering():
            found = await obstore.get_async(self._store, path)
            async for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def remove(self, path: str) -> None:
        """Delete the bytes at a path, if there are any."""
        with _answering(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, path)

    async def entries(self, prefix: str) -> list[tuple[str, float]]:
        """The paths under a prefix, each with the time of its last write in seconds since 1970."""
        with _answering():
            batches = [batch async for batch in obstore.list(self._store, prefix)]
        return [(meta["path"], meta["last_modified"].timestamp()) for batch in batches for meta in batch]

    async def folders(self) -> list[str]:
        """The names of the folders at the top."""
        with _answering():
            return list((await obstore.list_with_delimiter_async(self._store))["common_prefixes"])

    async def sync(self, path: str) -> None:
        """Make a file, or the names in a folder, survive a power loss; a bucket does so itself."""
        if self.folder is not None:
            try:
                await asyncio.to_thread(_sync, self.folder / path)
            except OSError as error:  # such as a disk that is full
                raise Unavailable("the object store cannot write", retry_after=1.0) from error

    async def remove_partial(self, pattern: str, before: float) -> None:
        """Delete what writes that never ended have left in a folder before a time; listings do not show it."""
        if self.folder is not None:
            await asyncio.to_thread(_remove_partial, self.folder, f"{pattern}#*", before)


def checked_name(value: str, field: str) -> str:
    """Return `value` if it can be part of a path.

    Raises:
        InvalidArgument: `value` is not 1 to 128 letters, digits, `.`, `_` and `-`, a letter or digit first.
    """
    if not _NAME.fullmatch(value):
        raise InvalidArgument(
            f"a name must be 1 to 128 letters, digits, dots, dashes and underscores, got {cut(value)!r}", field=field
        )
    return value


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except BaseError as error:
        raise Unavailable("the object store does not answer", retry_after=1.0) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_partial(folder: Path, pattern: str, before: float) -> None:
    for part in folder.glob(pattern):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                part.unlink()
