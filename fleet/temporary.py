"""A fleet in a temporary home on free ports, started with the `polyphony` command: for tests, drills and benchmarks."""

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
from typing import Any, Literal

from fleet.errors import FleetError
from fleet.runner import state
from fleet.runner.state import ProcessState

POLYPHONY = Path(sys.executable).with_name("polyphony")
COMMAND_SECONDS = 300.0


@dataclass(frozen=True)
class TemporaryFleet:
    """A running fleet.

    Attributes:
        home: Its `POLYPHONY_HOME`.
        environment: The environment of its `polyphony` command.
    """

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> str:
        """Run the `polyphony` command on it and return the standard output.

        Raises:
            FleetError: The command failed; the text is its output.
        """
        done = subprocess.run(
            [POLYPHONY, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise FleetError(f"polyphony {' '.join(map(str, arguments))} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """The status of each process by name."""
        return {row["process"]: row for row in json.loads(self.run("status", "--json"))}

    def processes(self) -> dict[str, ProcessState]:
        """The state of each process by name, the supervisor excepted; faster than `status`."""
        return {process.name: process for process in state.read(self.home / "run").processes}

    def address(self, process: str, kind: Literal["address", "grpc", "metrics"] = "address") -> str:
        """Where a process listens."""
        return str(getattr(self.processes()[process], kind))


@contextmanager
def new_home() -> Iterator[Path]:
    """A temporary folder that Postgres can pass through: under root it runs as another account."""
    home = Path(tempfile.mkdtemp(prefix="polyphony-"))
    home.chmod(0o711)
    try:
        yield home
    finally:
        shutil.rmtree(home)


@contextmanager
def running(home: Path, *arguments: str, **settings: str) -> Iterator[TemporaryFleet]:
    """Start a fleet with `polyphony up`, and stop it at the end.

    Args:
        home: Its `POLYPHONY_HOME`.
        arguments: More arguments of `polyphony up`, such as `--profile`.
        settings: Environment variables. Of this process's own, those of Polyphony do not reach the fleet.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POLYPHONY_")}
    environment |= {"POLYPHONY_HOME": str(home), "POLYPHONY_FLEET_PORTS": "free"}
    fleet = TemporaryFleet(home, environment | {"POLYPHONY_FLEET_START_TIMEOUT_SECONDS": "240"} | settings)
    fleet.run("up", *arguments)
    try:
        yield fleet
    finally:
        fleet.run("down")
