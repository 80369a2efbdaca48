"""A home of its own for each test, where Postgres's account can get at it too."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.settings import FleetSettings


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="polyphony-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def settings(home: Path) -> FleetSettings:
    return FleetSettings(home=home, profile="fake", ports="free", environment={"PATH": "/usr/bin:/bin"})
