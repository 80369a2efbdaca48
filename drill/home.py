"""The home of a drill's fleet: a small file system of its own where root may mount one, so that it can be full."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.temporary import new_home

SIZE_MB = 400  # Postgres's programs and its write-ahead log


@contextmanager
def small_home() -> Iterator[Path]:
    """A temporary home, on a tmpfs of `SIZE_MB` where this process may mount one."""
    with new_home() as home:
        mounted = os.geteuid() == 0 and _mount(home)
        try:
            yield home
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", home], check=True)


def _mount(folder: Path) -> bool:
    if shutil.which("mount") is None:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=711", "polyphony-drill", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
