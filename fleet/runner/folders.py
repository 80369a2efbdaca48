"""The folders of a home, which hold what callers sent: for its user alone."""

import os
from pathlib import Path


def make_home(home: Path) -> None:
    """Create the home if there is none. One of root lets the account of Postgres pass through, but not list it."""
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def make_private(folder: Path) -> None:
    """Create a folder, or change one that others may enter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def let_pass(folder: Path) -> None:
    """Create a folder, and let other accounts pass through it without listing it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(folder.stat().st_mode | 0o011)
