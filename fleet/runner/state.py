"""The state of a fleet, which the supervisor writes to `run/fleet.json` and other commands read."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from fleet.errors import FleetError
from fleet.runner.lock import is_held

Protocol = Literal["grpc", "http", "postgres"]


class ProcessState(BaseModel):
    """The state of one process.

    Attributes:
        name: The name.
        protocol: The protocol of the readiness check.
        host: The host on which it listens.
        port: The port of the readiness check.
        address: The address for callers.
        grpc: The address of its gRPC port, if any.
        metrics: The address of its `/metrics`, if any.
        models: The models that it runs.
        state: `starting`, `running`, `waiting` (for its restart) or `stopped`.
        pid: The process id while it runs.
        start_ticks: The time of that process's start in clock ticks after boot: a later one has another.
        since: The Unix time of its last start.
        restarts: The number of restarts.
        reason: How it ended last.
    """

    name: str
    protocol: Protocol
    host: str
    port: int
    address: str
    grpc: str = ""
    metrics: str = ""
    models: tuple[str, ...] = ()
    state: Literal["starting", "running", "waiting", "stopped"] = "starting"
    pid: int | None = None
    start_ticks: int = 0
    since: float = 0.0
    restarts: int = 0
    reason: str = ""

    def observed(self) -> "ProcessState":
        """This state, or a corrected one if the process has ended and the supervisor has not recorded that."""
        if self.pid is None or start_ticks(self.pid) == self.start_ticks:
            return self
        reason = f"process {self.pid} has ended; the supervisor has not recorded it yet"
        return self.model_copy(update={"state": "waiting", "pid": None, "reason": reason})


class FleetState(BaseModel):
    """The state of the fleet of a home.

    Attributes:
        pid: The process id of the supervisor.
        profile: The profile that it runs.
        url: The URL of the gateway.
        processes: The processes in the order of their start.
    """

    pid: int
    profile: str
    url: str
    processes: list[ProcessState]


def lock_path(run_dir: Path) -> Path:
    """The file whose lock the supervisor holds."""
    return run_dir / "fleet.lock"


def state_path(run_dir: Path) -> Path:
    """The file of the state."""
    return run_dir / "fleet.json"


def write(state: FleetState, run_dir: Path) -> None:
    """Write the state atomically.

    Raises:
        OSError: It cannot be written; the file is as it was.
    """
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = run_dir / "fleet.json.new"
    fresh.write_text(state.model_dump_json(indent=2))
    fresh.replace(state_path(run_dir))


def read(run_dir: Path) -> FleetState:
    """The state of the fleet that runs in this home, with the processes as they are now.

    Raises:
        FleetError: No fleet is running.
    """
    if is_held(lock_path(run_dir)):
        try:
            fleet = FleetState.model_validate_json(state_path(run_dir).read_text())
            return fleet.model_copy(update={"processes": [process.observed() for process in fleet.processes]})
        except FileNotFoundError:
            raise FleetError("the fleet is starting; try again") from None
    raise FleetError(f"no fleet is running in {run_dir.parent}; start one with `polyphony up`")


def start_ticks(pid: int) -> int:
    """The time of a process's start in clock ticks after boot; 0 if there is no such process, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])
