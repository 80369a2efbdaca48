"""Starts and stops the fleet in the background."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fleet.errors import FleetError
from fleet.runner import health, state
from fleet.runner.folders import make_home, make_private
from fleet.runner.lock import is_held
from fleet.runner.state import FleetState, lock_path
from fleet.settings import FleetSettings

SERVICE_RESTARTS = 3
TAIL_LINES = 15


def up(settings: FleetSettings, show: Callable[[dict[str, bool]], None]) -> FleetState:
    """Start a fleet, or find the running one, and return when every process is ready.

    Args:
        settings: The settings of the fleet.
        show: Called repeatedly with the readiness of each process.

    Raises:
        FleetError: A process did not start or was not ready in time; then nothing is left running.
    """
    if is_held(lock_path(settings.run_dir)):
        fleet = _read_soon(settings, time.monotonic() + 10)
        if fleet.profile != settings.profile:
            raise FleetError(
                f"a fleet of profile {fleet.profile} is running in {settings.home}: run `polyphony down` first"
            )
        return _wait(settings, show, lambda: None)

    log = settings.logs_dir / "supervisor.log"
    try:
        make_home(settings.home)
        make_private(settings.logs_dir)
        output = open(log, "ab+", opener=_open_private)  # noqa: SIM115 - readable, so that the supervisor can rotate it
    except OSError as error:
        raise FleetError(f"the home must be a folder that can be written: {error}") from error
    with output:
        began = output.tell()
        supervisor = subprocess.Popen(
            (sys.executable, "-P", "-m", "fleet.runner.supervisor"),
            env={**settings.environment, "POLYPHONY_FLEET_PROFILE": settings.profile},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def check() -> None:
        if supervisor.poll() is not None:
            with log.open() as file:
                file.seek(began)
                raise FleetError(file.read().strip() or f"the supervisor ended at once; see {log}")

    try:
        return _wait(settings, show, check)
    except (FleetError, KeyboardInterrupt):
        if supervisor.poll() is None:
            supervisor.terminate()
            supervisor.wait()
        raise


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def down(settings: FleetSettings) -> bool:
    """Stop the fleet after running requests have finished. Returns whether one was running.

    Raises:
        FleetError: The fleet neither stopped nor could be killed.
    """
    if not is_held(lock_path(settings.run_dir)):
        return False
    pid = _read_soon(settings, time.monotonic() + 10).pid
    _signal(pid, signal.SIGTERM)
    if not _gone(settings, 2 * settings.drain_timeout_seconds + 60):
        _signal(pid, signal.SIGKILL)  # its children go with it
        if not _gone(settings, 10):
            raise FleetError(f"the supervisor (pid {pid}) cannot be stopped")
    return True


def _wait(settings: FleetSettings, show: Callable[[dict[str, bool]], None], check: Callable[[], None]) -> FleetState:
    end = time.monotonic() + settings.start_timeout_seconds
    while True:
        check()
        try:
            fleet = state.read(settings.run_dir)
        except FleetError:
            ready = {}
        else:
            ready = asyncio.run(health.all_ready(fleet.processes, _called(settings, fleet)))
            show(ready)
            if all(ready.values()):
                return fleet
            for process in fleet.processes:
                if process.restarts >= SERVICE_RESTARTS and not ready[process.name]:
                    raise FleetError(f"{process.name} {process.reason}, repeatedly:\n{_tail(settings, process.name)}")
        if time.monotonic() > end:
            late = next((name for name, is_ready in ready.items() if not is_ready), "supervisor")
            raise FleetError(
                f"{late} is not ready after {settings.start_timeout_seconds:g} s "
                f"(POLYPHONY_FLEET_START_TIMEOUT_SECONDS); the end of its log:\n{_tail(settings, late)}"
            )
        time.sleep(0.1)


def _called(settings: FleetSettings, fleet: FleetState) -> list[str]:
    """The services of this fleet that its gateway calls, without those for which the user set another target."""
    services = [process.name for process in fleet.processes if process.protocol == "grpc"]
    return [name for name in services if not settings.chosen("gateway", f"{name}_target")]


def _read_soon(settings: FleetSettings, end: float) -> FleetState:
    while True:
        try:
            return state.read(settings.run_dir)
        except FleetError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def _tail(settings: FleetSettings, name: str) -> str:
    log = Path(settings.logs_dir / f"{name}.log")
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has just exited


def _gone(settings: FleetSettings, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_held(lock_path(settings.run_dir)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
