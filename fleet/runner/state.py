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
    since: float = 0.0
    restarts: int = 0
    reason: str = ""


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


def write(state: FleetState, run_dir: Path) -> None:
    """Write the state atomically."""
    fresh = run_dir / "fleet.json.new"
    fresh.write_text(state.model_dump_json(indent=2))
    fresh.replace(run_dir / "fleet.json")


def read(run_dir: Path) -> FleetState:
    """The state of the fleet that runs in this home.

    Raises:
        FleetError: No fleet is running.
    """
    if is_held(lock_path(run_dir)):
        try:
            return FleetState.model_validate_json((run_dir / "fleet.json").read_text())
        except FileNotFoundError:
            raise FleetError("the fleet is starting; try again") from None
    raise FleetError(f"no fleet is running in {run_dir.parent}; start one with `polyphony up`")
