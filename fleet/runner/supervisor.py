"""The supervisor, which keeps the processes running: `python -m fleet.runner.supervisor`, started by `polyphony up`."""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # its threads may kill a new process between fork and exec

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from fleet.errors import FleetError
from fleet.runner import plan
from fleet.runner.child import Child
from fleet.runner.folders import make_private
from fleet.runner.lock import Lock, exclusive
from fleet.runner.process import Process
from fleet.runner.process_log import ProcessLog
from fleet.runner.state import FleetState, lock_path, state_path, write
from fleet.settings import FleetSettings
from fleet.weights import weights
from servekit.models import catalogue
from servekit.ops.descriptors import raise_descriptor_limit

KEEP_SECONDS = 1.0
STDERR = 2

logger = logging.getLogger("fleet")


class Supervisor:
    """Runs processes until `stop`.

    Args:
        settings: The settings, with the folders of state and logs.
        processes: The processes to run.
        lock: The lock of the home, which is taken again if its file is deleted.
    """

    def __init__(self, settings: FleetSettings, processes: Sequence[Process], lock: Lock | None = None) -> None:
        self._settings = settings
        self._lock = lock
        self._changed, self._stop = asyncio.Event(), asyncio.Event()
        self._failure = ""
        self.children = {one.name: Child(one, settings, self._changed.set) for one in processes}

    def stop(self) -> None:
        """Make `run` stop the processes and return."""
        self._stop.set()

    async def run(self) -> None:
        """Start all processes, keep them running, and after `stop` stop them in order."""
        keeping = asyncio.create_task(self._keep_files())
        tasks = [asyncio.create_task(child.run()) for child in self.children.values()]
        await self._stop.wait()
        logger.info("stopping the fleet")
        for stage in sorted({child.process.stage for child in self.children.values()}, reverse=True):
            stopping = [child.stop() for child in self.children.values() if child.process.stage == stage]
            await asyncio.gather(*stopping)
        await asyncio.gather(*tasks)
        keeping.cancel()
        self._write_state()
        logger.info("fleet stopped")

    async def _keep_files(self) -> None:
        """Write the state whenever it changes, again while that fails or where it was deleted, and rotate the logs."""
        own = ProcessLog(self._settings.logs_dir / "supervisor.log", STDERR)
        logs = [own, *(child.log for child in self.children.values())]
        files = [state_path(self._settings.run_dir), *([lock_path(self._settings.run_dir)] if self._lock else [])]
        written = False
        while True:
            if self._changed.is_set() or not written or not all(map(os.path.exists, files)):
                self._changed.clear()
                written = self._write_state()
            for log in logs:
                log.rotate()
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_SECONDS):
                    await self._changed.wait()

    def _write_state(self) -> bool:
        """Write the state; returns whether that succeeded. A failure is logged once."""
        states = [child.state for child in self.children.values()]
        url = next((state.address for state in states if state.protocol == "http"), "")
        state = FleetState(pid=os.getpid(), profile=self._settings.profile, url=url, processes=states)
        failure = ""
        try:
            if self._lock:
                self._lock.renew()
            write(state, self._settings.run_dir)
        except (OSError, FleetError) as error:
            failure = str(error)
        if failure and failure != self._failure:
            logger.warning("state not written: %s; trying again", failure)
        elif self._failure and not failure:
            logger.info("state written")
        self._failure = failure
        return not failure


def prepare(settings: FleetSettings) -> list[Process]:
    """The processes of this home's fleet; checks weights and ports and prepares Postgres.

    Raises:
        FleetError: Weights are missing, a port is in use, or Postgres cannot run here.
    """
    absent = [spec for spec in weights.specs(settings) if weights.missing(spec, settings.models_dir)]
    if absent:
        raise FleetError(
            f"{settings.models_dir} has no weights of {', '.join(spec.id for spec in absent)}: "
            f"run `polyphony models pull --profile {settings.profile}`"
        )
    profile = catalogue.profile(settings.profile, settings.catalogue)
    postgres = plan.database(settings, profile)
    if postgres:
        postgres.prepare()
    return plan.processes(settings, profile, postgres)


async def supervise(settings: FleetSettings) -> None:
    """Run the fleet of a home until SIGTERM or SIGINT.

    Raises:
        FleetError: Another fleet is running in this home, or `prepare` fails.
    """
    with exclusive(lock_path(settings.run_dir), f"a fleet is already running in {settings.home}") as lock:
        for folder in (settings.run_dir, settings.home / "data"):
            make_private(folder)
        state_path(settings.run_dir).unlink(missing_ok=True)
        supervisor = Supervisor(settings, prepare(settings), lock)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        await supervisor.run()


def main() -> None:
    """Run the fleet in the foreground."""
    os.umask(0o077)  # its files and those of its processes are for its user alone
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    raise_descriptor_limit()
    try:
        asyncio.run(supervise(FleetSettings()))
    except (FleetError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
