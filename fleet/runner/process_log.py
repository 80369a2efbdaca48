"""The log of one process: a file to which the process itself appends, and which is rotated while it runs."""

import os
from contextlib import suppress
from pathlib import Path

MAX_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20


class ProcessLog:
    """A log with one predecessor, `<name>.log.1`. Nothing but `open` raises an error: logs are no reason to fail.

    Args:
        path: The file.
        descriptor: The open file, if it is open: readable, and in append mode.
    """

    def __init__(self, path: Path, descriptor: int | None = None) -> None:
        self._path, self._descriptor = path, descriptor

    def open(self) -> int:
        """The file descriptor for a process that starts now: of the null device where the file cannot be opened.

        Raises:
            OSError: No file can be opened.
        """
        self.close()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            self._descriptor = os.open(os.devnull, os.O_RDWR)
        return self._descriptor

    def note(self, text: str) -> None:
        """Append a line of the supervisor."""
        with suppress(OSError):
            os.write(self.open() if self._descriptor is None else self._descriptor, f"supervisor: {text}\n".encode())

    def rotate(self) -> None:
        """Move what the file has to its predecessor if it exceeds the limit; the process continues to append to it.

        Where the predecessor cannot be written, such as on a full disk, the file is left as it is.
        """
        if self._descriptor is None:
            return
        previous = self._path.with_suffix(".log.1")
        fresh = previous.with_suffix(".1.new")
        try:
            if os.fstat(self._descriptor).st_size > MAX_BYTES:
                self._copy_and_truncate(self._descriptor, fresh, previous)
        except OSError:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)

    def close(self) -> None:
        """Close this process's descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _copy_and_truncate(self, descriptor: int, fresh: Path, previous: Path) -> None:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as copy:
            while chunk := os.pread(descriptor, CHUNK_BYTES, copy.tell()):
                copy.write(chunk)
                copy.flush()
            os.ftruncate(descriptor, 0)  # at once after a read that found no more
        fresh.replace(previous)
