"""One running fleet of real models, shared by every end-to-end test."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import skimage.data
from openai import OpenAI

from servekit.ops.settings import default_home

POLYPHONY = Path(sys.executable).with_name("polyphony")
QUESTION = "According to the page, what are the markers?"
ON_THE_PAGE = ("pixels", "label", "unambiguously", "background", "zeros")  # words that only its reader can know
SAMPLES = Path(skimage.data.__file__).parent


@dataclass(frozen=True)
class Fleet:
    """A fleet in a home of its own, on free ports."""

    home: Path
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> str:
        """Run the `polyphony` command against it; what it printed."""
        command = [POLYPHONY, *arguments]
        patient = {"POLYPHONY_FLEET_START_TIMEOUT_SECONDS": "240"} | self.environment  # with a slow machine
        done = subprocess.run(command, env=patient, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Each process by its name."""
        return {row["process"]: row for row in json.loads(self.run("status", "--json"))}

    def address(self, process: str, kind: str = "address") -> str:
        """Where a process listens: its `address`, `grpc` or `metrics`."""
        return str(self.status()[process][kind])


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The embedded profile. Missing weights fail every test that asks for it; none is skipped."""
    home = tmp_path_factory.mktemp("fleet")
    for parent in (home, *home.parents[:2]):
        parent.chmod(0o755)  # Postgres, which refuses to be root, has to get in
    (home / "models").symlink_to(Path(os.environ.get("POLYPHONY_HOME", default_home())) / "models")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("POLYPHONY_")}
    fleet = Fleet(home, environment | {"POLYPHONY_HOME": str(home), "POLYPHONY_FLEET_PORTS": "free"})
    fleet.run("up")
    yield fleet
    fleet.run("down")
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def client(fleet: Fleet) -> Iterator[OpenAI]:
    """The official client, pointed at the fleet."""
    with OpenAI(base_url=f"{fleet.address('gateway')}/v1", api_key="none", timeout=120, max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def page() -> bytes:
    """A photograph of a printed page about region-based segmentation."""
    return (SAMPLES / "page.png").read_bytes()


@pytest.fixture(scope="session")
def question(client: OpenAI) -> bytes:
    """`QUESTION`, spoken, as WAV."""
    spoken = client.audio.speech.create(model="tts-1", voice="default", input=QUESTION, response_format="wav")
    return spoken.content
