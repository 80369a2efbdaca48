"""Bytes on their way into the object store, hashed as they arrive."""

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from servekit.errors import TooLarge

_LARGE = 1 << 20  # bytes that are hashed in a thread, since they would hold the event loop for milliseconds


@dataclass(frozen=True, slots=True)
class StagedObject:
    """Bytes that are stored, and not yet under their content address.

    Attributes:
        path: Where the bytes are.
        digest: Their SHA-256, hexadecimal.
        size: Their number.
    """

    tenant: str
    path: str
    digest: str
    size: int

    @property
    def reference(self) -> str:
        """The content address of the bytes."""
        return f"sha256:{self.digest}"


class HashedChunks:
    """Chunks that are hashed and counted while they are read.

    Args:
        chunks: The bytes, or chunks of them.
        max_bytes: The maximum number of bytes; None for no maximum.
        field: The field that the error names.

    Attributes:
        hash: The SHA-256 of the chunks so far.
        size: Their number of bytes.
    """

    def __init__(self, chunks: bytes | AsyncIterable[bytes], max_bytes: int | None, field: str) -> None:
        self._chunks = _once(chunks) if isinstance(chunks, bytes) else chunks
        self._max_bytes, self._field = max_bytes, field
        self.hash = hashlib.sha256()
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            self.size += len(chunk)
            if self._max_bytes is not None and self.size > self._max_bytes:
                raise TooLarge(f"the upload must have at most {self._max_bytes} bytes", field=self._field)
            if len(chunk) > _LARGE:
                await asyncio.to_thread(self.hash.update, chunk)
            else:
                self.hash.update(chunk)
            yield chunk


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
