"""What the supervisor writes down about its fleet, and the other commands read: `run/fleet.json`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from fleet.cli.errors import FleetError
from fleet.runner.lock import is_held

Protocol = Literal["grpc", "http", "postgres"]


class ProcessState(BaseModel):
    """One process.

    Attributes:
        name: Its name.
        protocol: How to ask whether it is ready.
        host: Where it listens.
        port: The port that is asked.
        address: What a caller uses.
        grpc: Where it speaks gRPC, if it does.
        metrics: Where its `/metrics` is, if it has any.
        models: The models it runs.
        state: `starting`, `running`, `waiting` (to be started again) or `stopped`.
        pid: Its process id while it runs.
        since: When it was started, in seconds since 1970.
        restarts: How often it was started again.
        reason: Why it ended last.
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
    """The whole fleet of a home.

    Attributes:
        pid: The supervisor's process id.
        profile: What it runs.
        url: The gateway, for HTTP.
        processes: In the order in which they are started.
    """

    pid: int
    profile: str
    url: str
    processes: list[ProcessState]


def lock_path(run_dir: Path) -> Path:
    """The file whose lock the supervisor holds."""
    return run_dir / "fleet.lock"


def write(state: FleetState, run_dir: Path) -> None:
    """Put the state in place in one step."""
    fresh = run_dir / "fleet.json.new"
    fresh.write_text(state.model_dump_json(indent=2))
    fresh.replace(run_dir / "fleet.json")


def read(run_dir: Path) -> FleetState:
    """The state of the fleet that runs in this home.

    Raises:
        FleetError: None runs.
    """
    if is_held(lock_path(run_dir)):
        try:
            return FleetState.model_validate_json((run_dir / "fleet.json").read_text())
        except FileNotFoundError:
            raise FleetError("the fleet is just being started; try again") from None
    raise FleetError(f"no fleet runs in {run_dir.parent}; start one with `polyphony up`")
