"""Fixtures of unit tests: a database, and a hypothesis profile with the same examples every time and no deadline.

`pytest tests/unit --hypothesis-profile=default` looks for new examples.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import RunningPostgres

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


@pytest.fixture(scope="session")
def postgres() -> Iterator[RunningPostgres]:
    """One server for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="polyphony-postgres-"))
    folder.chmod(0o755)
    running = RunningPostgres(folder)
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def database_url(postgres: RunningPostgres, request: pytest.FixtureRequest) -> str:
    """A database of the test's own."""
    return postgres.database(f"test_{abs(hash(request.node.nodeid)):x}")
