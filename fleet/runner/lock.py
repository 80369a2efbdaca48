"""Exclusive file locks: one fleet and one pull for each home."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.errors import FleetError


@contextmanager
def exclusive(path: Path, held: str) -> Iterator[None]:
    """Hold the lock within the block; the kernel releases it if this process dies.

    Raises:
        FleetError: Another process holds the lock; the text is `held`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FleetError(held) from None
        yield


def is_held(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
