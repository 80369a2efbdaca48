"""A home of its own for each test, where Postgres's account can get at it too."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from fleet.runner import ports
from fleet.runner.process import Process
from fleet.runner.supervisor import Supervisor
from fleet.settings import FleetSettings

Running = Callable[..., AbstractAsyncContextManager[Supervisor]]


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="polyphony-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def settings(home: Path) -> FleetSettings:
    return FleetSettings(home=home, profile="fake", ports="free", environment={"PATH": "/usr/bin:/bin"})


@pytest.fixture
def free_port() -> int:
    return ports.free()


@pytest.fixture
def supervised(settings: FleetSettings) -> Running:
    """`async with supervised(process, ...) as supervisor`: a fleet of these, stopped at the end."""

    @asynccontextmanager
    async def run(*processes: Process) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(settings, processes)
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            yield supervisor
            supervisor.stop()

    return run


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """`await until(condition)`: wait for what nothing announces."""

    async def wait(condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    return wait
