"""The supervisor, which keeps the processes running: `python -m fleet.runner.supervisor`, started by `polyphony up`."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from fleet.errors import FleetError
from fleet.runner import plan
from fleet.runner.child import Child
from fleet.runner.lock import exclusive
from fleet.runner.process import Process
from fleet.runner.state import FleetState, lock_path, write
from fleet.settings import FleetSettings
from fleet.weights import weights
from servekit.models import catalogue

logger = logging.getLogger("fleet")


class Supervisor:
    """Runs processes until `stop`.

    Args:
        settings: The settings, with the folders of state and logs.
        processes: The processes to run.
    """

    def __init__(self, settings: FleetSettings, processes: Sequence[Process]) -> None:
        self._settings = settings
        self.children = {one.name: Child(one, settings.logs_dir, self._write_state) for one in processes}
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make `run` stop the processes and return."""
        self._stop.set()

    async def run(self) -> None:
        """Start all processes, keep them running, and after `stop` stop them in order."""
        for folder in (self._settings.logs_dir, self._settings.run_dir):
            folder.mkdir(parents=True, exist_ok=True)
        self._write_state()
        tasks = [asyncio.create_task(child.run()) for child in self.children.values()]
        await self._stop.wait()
        logger.info("stopping the fleet")
        for stage in sorted({child.process.stage for child in self.children.values()}, reverse=True):
            stopping = [child.stop() for child in self.children.values() if child.process.stage == stage]
            await asyncio.gather(*stopping)
        await asyncio.gather(*tasks)
        logger.info("fleet stopped")

    def _write_state(self) -> None:
        states = [child.state for child in self.children.values()]
        url = next((state.address for state in states if state.protocol == "http"), "")
        state = FleetState(pid=os.getpid(), profile=self._settings.profile, url=url, processes=states)
        write(state, self._settings.run_dir)


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
    with exclusive(lock_path(settings.run_dir), f"a fleet is already running in {settings.home}"):
        (settings.run_dir / "fleet.json").unlink(missing_ok=True)
        supervisor = Supervisor(settings, prepare(settings))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        await supervisor.run()


def main() -> None:
    """Run the fleet in the foreground."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(supervise(FleetSettings()))
    except FleetError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
