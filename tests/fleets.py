"""A fleet started as a user starts it, in a home of its own, on free ports."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLYPHONY = Path(sys.executable).with_name("polyphony")


@dataclass(frozen=True)
class Fleet:
    """A running fleet.

    Attributes:
        home: Its `POLYPHONY_HOME`.
        environment: The environment of its `polyphony` command.
    """

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> str:
        """Run the `polyphony` command on it and return the standard output."""
        command = [POLYPHONY, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        """The status of each process by name."""
        return {row["process"]: row for row in json.loads(self.run("status", "--json"))}

    def address(self, process: str, kind: str = "address") -> str:
        """Where a process listens: its `address`, `grpc` or `metrics`."""
        return str(self.status()[process][kind])


@contextmanager
def new_home() -> Iterator[Path]:
    """A temporary folder that Postgres can enter: it refuses to run as root, and pytest's folders are private."""
    home = Path(tempfile.mkdtemp(prefix="polyphony-test-"))
    home.chmod(0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def running(home: Path, *arguments: str, **settings: str) -> Iterator[Fleet]:
    """Start a fleet with `polyphony up`, and stop it at the end.

    Args:
        home: Its `POLYPHONY_HOME`.
        arguments: More arguments of `polyphony up`, such as `--profile`.
        settings: Environment variables. Of this process's own, those of Polyphony do not reach the fleet.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POLYPHONY_")}
    environment |= {"POLYPHONY_HOME": str(home), "POLYPHONY_FLEET_PORTS": "free"}
    fleet = Fleet(home, environment | {"POLYPHONY_FLEET_START_TIMEOUT_SECONDS": "240"} | settings)
    fleet.run("up", *arguments)
    try:
        yield fleet
    finally:
        fleet.run("down")
