"""The body of one request, received whole before a handler uses it."""

import asyncio
import errno
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import BinaryIO, TypeVar, cast

from starlette.requests import Request

from gateway.budget import SMALL_BYTES, BodyBudgets, budget_exhausted
from gateway.settings import GatewaySettings
from servekit.errors import Timeout, TooLarge, Unavailable

Result = TypeVar("Result")

MEMORY_BYTES = 1 << 20  # of a body, above which it is received on disk
ARRIVING_SHARE = 0.5  # of the memory, for bodies that arrive; the rest is for those that are processed
PIECE_BYTES = 256 << 10  # read from disk at once
PASSED_BYTES = 16 << 20  # of a body that a handler holds at the same time where it passes them on
RESERVED_DISK_BYTES = 1 << 30  # or a quarter of a small disk: left to the database and the stored files


class RequestBody:
    """The body of one request.

    A large one is received in an unnamed temporary file and comes into memory once it is whole, so that slow clients
    hold no memory. It counts against the budgets until `close`.

    Args:
        request: The request.
        budgets: What all bodies together may take.
        tenant: The tenant whose share of them the body takes.
        settings: The pace that a client must keep.
    """

    def __init__(self, request: Request, budgets: BodyBudgets, tenant: str, settings: GatewaySettings) -> None:
        self._request, self._budgets, self._tenant = request, budgets, tenant
        self._pace = settings.min_transfer_bytes_per_second
        self._grace = settings.transfer_grace_seconds
        self._chunks: list[bytes] = []
        self._file: BinaryIO | None = None
        self._using = Lock()  # the file
        self._size = self._in_memory = self._on_disk = 0

    async def stream(self, limit: int, field: str = "", *, keeps: bool = False) -> AsyncIterator[bytes]:
        """The chunks of the body, once it is whole.

        Args:
            limit: The most bytes that the body may have.
            field: The field that the error names.
            keeps: Whether the handler keeps all bytes in memory; if not, it passes them on chunk by chunk.

        Raises:
            TooLarge: The body has more than `limit` bytes, or its content-length says so.
            Timeout: The client sends too slowly.
            Overloaded: The budgets have no room for the body.
            Unavailable: The disk has no room for it, or cannot be used.
        """
        await self._receive(limit, field)
        if self._file is not None:
            await self.hold(self._size if keeps else min(self._size, PASSED_BYTES))
            self._file.seek(0)
            while chunk := await asyncio.to_thread(self._use, self._file.read, PIECE_BYTES):
                yield chunk
            self._drop_file()
        chunks, self._chunks = self._chunks, []
        for chunk in chunks:
            yield chunk

    def close(self) -> None:
        """Free what the body takes, once nothing uses it any more."""
        self._drop_file()
        self._chunks.clear()
        if self._in_memory:
            self._budgets.memory.release(self._tenant, self._in_memory)
            self._in_memory = 0
        size, self._size = self._size, 0
        if size > MEMORY_BYTES:
            gc.collect()  # an error and its frames are a cycle, which holds the body until the next full collection

    async def _receive(self, limit: int, field: str) -> None:
        error = TooLarge(f"the body must have at most {limit} bytes", field=field)
        stated = self._request.headers.get("content-length", "")
        if stated.isdigit() and int(stated) > limit:
            raise error
        loop = asyncio.get_running_loop()
        due = loop.time() + self._grace
        try:
            async with asyncio.timeout_at(due) as timeout:
                async for chunk in self._request.stream():
                    self._size += len(chunk)
                    if self._size > limit:
                        raise error
                    if chunk:
                        await self._add(chunk)
                        # Each byte extends the deadline, which is never more than the grace period away.
                        due = min(due + len(chunk) / self._pace, loop.time() + self._grace)
                        timeout.reschedule(due)
        except TimeoutError:
            raise Timeout(
                f"the body must arrive at {self._pace} bytes per second or more, after {self._grace:g} s", field="body"
            ) from None

    async def _add(self, chunk: bytes) -> None:
        if self._file is None:
            self._chunks.append(chunk)
            if self._size <= SMALL_BYTES:
                return
            more = self._size - self._in_memory
            if self._size <= MEMORY_BYTES and self._budgets.memory.try_acquire(self._tenant, more, ARRIVING_SHARE):
                self._in_memory = self._size
                return
            await self._to_disk()
        elif not self._budgets.disk.try_acquire(self._tenant, len(chunk)):
            raise budget_exhausted()
        else:
            self._on_disk += len(chunk)
            await self._write(self._file, [chunk])

    async def _to_disk(self) -> None:
        """Move what has arrived to a temporary file."""
        if not self._budgets.disk.try_acquire(self._tenant, self._size):
            raise budget_exhausted()
        self._on_disk = self._size
        try:
            self._file = await asyncio.to_thread(_open, self._budgets.folder)
        except OSError as error:
            raise _no_space() from error
        chunks, self._chunks = self._chunks, []
        await self._write(self._file, chunks)
        if self._in_memory:
            self._budgets.memory.release(self._tenant, self._in_memory)
            self._in_memory = 0

    async def hold(self, size: int) -> None:
        """Count more bytes in memory for this request, such as those of its answer, once there is room.

        Raises:
            Overloaded: There is none.
        """
        await self._budgets.memory.acquire(self._tenant, size)
        self._in_memory += size

    def _drop_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:  # its blocks are freed, which takes time where there are many
            asyncio.get_running_loop().run_in_executor(None, self._use, file.close)
        if self._on_disk:
            self._budgets.disk.release(self._tenant, self._on_disk)
            self._on_disk = 0

    async def _write(self, file: BinaryIO, chunks: list[bytes]) -> None:
        try:
            await asyncio.to_thread(self._use, partial(_write_all, file, chunks))
        except OSError as error:
            raise _no_space() from error

    def _use(self, use: Callable[..., Result], *arguments: int) -> Result:
        """Use the file in a thread. A cancelled request closes it after that: its descriptor is another file's then."""
        with self._using:
            return use(*arguments)


def _no_space() -> Unavailable:
    return Unavailable("the gateway has no disk space to receive the body", retry_after=1.0)


def _open(folder: Path) -> BinaryIO:
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    return cast("BinaryIO", TemporaryFile(dir=folder, buffering=0))


def _write_all(file: BinaryIO, chunks: list[bytes]) -> None:
    disk = os.fstatvfs(file.fileno())
    if disk.f_bavail * disk.f_frsize < min(RESERVED_DISK_BYTES, disk.f_blocks * disk.f_frsize // 4):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:  # a file without a buffer may write less than it is given
            rest = rest[file.write(rest) :]
