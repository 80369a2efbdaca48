"""The logs of the processes, one file each."""

import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from fleet.errors import FleetError

PERIOD_SECONDS = 0.2


def tail(folder: Path, process: str, lines: int) -> Iterator[str]:
    """The last lines of one process's log, or of all of them; each line names its process where there are several.

    Raises:
        FleetError: There is no such log.
    """
    files = _files(folder, process)
    for file in files:
        with file.open(errors="replace") as text:
            for line in deque(text, maxlen=lines):
                yield _named(file, line, len(files))


def follow(folder: Path, process: str) -> Iterator[str]:
    """The lines that are written from now on, without end."""
    files = _files(folder, process)
    with ExitStack() as stack:
        opened = [(file, stack.enter_context(file.open(errors="replace"))) for file in files]
        for _, text in opened:
            text.seek(0, os.SEEK_END)
        while True:
            for file, text in opened:
                if os.fstat(text.fileno()).st_size < text.tell():  # it was rotated
                    text.seek(0)
                for line in text:
                    yield _named(file, line, len(files))
            time.sleep(PERIOD_SECONDS)


def _files(folder: Path, process: str) -> list[Path]:
    files = sorted(folder.glob("*.log"))
    if process:
        chosen = [file for file in files if file.stem == process]
        if not chosen:
            known = ", ".join(file.stem for file in files) or "none"
            raise FleetError(f"no log of {process!r} in {folder}; logs: {known}")
        return chosen
    return files


def _named(file: Path, line: str, count: int) -> str:
    return line if count == 1 else f"{file.stem:<11} {line}"
