"""Exclusive file locks: one fleet and one pull for each home.

They are open file description locks, since those can be tested without being taken: a test never makes the holder-to-be
fail.
"""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from fleet.errors import FleetError

_FLOCK = "hhqqi0q"  # struct flock: type, whence, start, length, pid


class Lock:
    """A lock that this process holds.

    Args:
        path: The file of the lock.
        held: The text of the error where another process holds it.
    """

    def __init__(self, path: Path, held: str) -> None:
        self._path, self._held = path, held
        self._file = self._take()

    def renew(self) -> None:
        """Take the lock again if its file was deleted, so that no second fleet starts beside this one.

        Raises:
            FleetError: Another process holds the lock by now.
            OSError: The file cannot be created.
        """
        if self._path.exists() and os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
            return
        fresh = self._take()
        self._file.close()
        self._file = fresh

    def release(self) -> None:
        """Give the lock up."""
        self._file.close()

    def _take(self) -> TextIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a")
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _whole_file())
        except (BlockingIOError, PermissionError):  # POSIX permits either
            file.close()
            raise FleetError(self._held) from None
        return file


@contextmanager
def exclusive(path: Path, held: str) -> Iterator[Lock]:
    """Hold the lock within the block; the kernel releases it if this process dies.

    Raises:
        FleetError: Another process holds the lock; the text is `held`.
    """
    lock = Lock(path, held)
    try:
        yield lock
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether some process holds the lock; the lock is not touched."""
    try:
        with path.open() as file:
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _whole_file())
    except (FileNotFoundError, NotADirectoryError):
        return False
    return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)


def _whole_file() -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
