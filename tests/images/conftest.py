"""The fleet of compose.yaml, of the images of this tree, run by podman as a chart would run it.

`make images`, then `pytest tests/images`; `TAG` names other images. Its volume of weights is kept from run to run.
Postgres is the wheel's, outside of the containers, so that no image has to come from a registry.
"""

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fleet.runner import ports
from fleet.runner.postgres import Postgres
from tests.images.test_locks import ROOT, SERVICES
from tests.operations.programs import eventually, running

PROJECT = "polyphony-test"
GRACE_SECONDS = 630
COMPOSE = ("tool", "run", "--quiet", "--from", "podman-compose==1.6.0", "podman-compose")
PROCESSES = tuple(name for name in SERVICES if name != "tools")
CONTAINERS_CONF = """
[engine]
runtime = "runc"
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""


@pytest.fixture(scope="session")
def tag() -> str:
    """The tag of the images; without podman or images, nothing here is run."""
    if not shutil.which("podman"):
        pytest.skip("podman is absent: apt-get install podman")
    of_make = subprocess.run(["make", "--silent", "tag"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tag = os.environ.get("TAG", of_make.strip())
    for service in SERVICES:
        if subprocess.run(
            ["podman", "image", "exists", f"localhost/polyphony-{service}:{tag}"], check=False
        ).returncode:
            pytest.skip(f"there is no image localhost/polyphony-{service}:{tag}: make images")
    return tag


class Fleet:
    """The containers of compose.yaml.

    Attributes:
        url: The gateway's HTTP.
        key: An API key.
    """

    def __init__(self, folder: Path, tag: str, database: str) -> None:
        port = ports.free()
        self.url, self.key = f"http://127.0.0.1:{port}", secrets.token_hex(32)
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        (folder / "keys.toml").write_text(
            f'[[keys]]\nsha256 = "{sha256(self.key.encode()).hexdigest()}"\nowner = "home"\n'
        )
        shutil.copy(ROOT / "compose.yaml", folder)  # keys.toml is beside it
        (folder / "here.yaml").write_text(yaml.safe_dump(_here(database)))
        self._folder = folder
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "HTTP": f"127.0.0.1:{port}",
            "POSTGRES_PASSWORD": "unused",
            "TAG": tag,
        }

    def compose(self, *arguments: str) -> None:
        """Run compose."""
        command = [Path(sys.executable).with_name("uv"), *COMPOSE, "--file", "compose.yaml", "--file", "here.yaml"]
        self._run(*command, "--project-name", PROJECT, *arguments)

    def podman(self, *arguments: str) -> str:
        """What podman prints."""
        return self._run("podman", *arguments)

    def inspect(self, service: str) -> dict[str, Any]:
        """What podman knows of a service's container."""
        return dict(json.loads(self.podman("container", "inspect", container(service)))[0])

    def healthy(self, name: str) -> bool:
        """What a container's own check says of it."""
        check = ["podman", "healthcheck", "run", name]
        return not subprocess.run(check, env=self._environment, capture_output=True, check=False).returncode

    def stop(self, name: str) -> float:
        """Ask a container to end and wait until it has; how many seconds it took."""
        began = time.monotonic()
        self.podman("stop", "--time", str(GRACE_SECONDS), name)
        return time.monotonic() - began

    def http(self) -> httpx.Client:
        """A client with the key."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=300)

    def readiness(self) -> str:
        """What `/readyz` says; empty while nobody answers."""
        try:
            return str(httpx.get(f"{self.url}/readyz").json()["status"])
        except httpx.TransportError:
            return ""

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def container(service: str) -> str:
    """What podman calls a service's container."""
    return f"{PROJECT}_{service}_1"


def _here(database: str) -> dict[str, Any]:
    """What differs here: Postgres, and the authorities that this machine trusts, if it says so."""
    here: dict[str, Any] = {
        name: {"environment": {f"POLYPHONY_{name.upper()}_DATABASE_URL": database}}
        for name in ("gateway", "speech", "retrieval")
    }
    if authorities := os.environ.get("PIP_CERT"):
        inside = "/etc/ssl/certs/ca-certificates.crt"
        here["weights"] = {"environment": {"PIP_CERT": inside}, "volumes": [f"{authorities}:{inside}:ro"]}
    return {"services": here}


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL, as containers see it, of the wheel's Postgres."""
    home = tmp_path_factory.mktemp("postgres")
    for parent in (home, *home.parents[:2]):
        parent.chmod(0o755)  # Postgres, which refuses to be root, has to get in
    postgres = Postgres(home / "data", home / "password", ports.free(), "nobody", home / "copies")
    postgres.prepare()
    with (postgres.data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samenet scram-sha-256\n")
    account = {"user": user[0], "group": user[1], "extra_groups": []} if (user := postgres.user()) else {}
    with running([*postgres.command(), "-c", "listen_addresses=*"], home / "log", cwd="/", **account):
        asyncio.run(postgres.provision())
        yield postgres.url.replace("127.0.0.1", "host.containers.internal")


@pytest.fixture(scope="session")
def fleet(tag: str, tmp_path_factory: pytest.TempPathFactory, database: str) -> Iterator[Fleet]:
    """The fleet, ready; its weights' volume outlives it."""
    fleet = Fleet(tmp_path_factory.mktemp("compose"), tag, database)
    fleet.compose("up", "--no-deps", "weights")
    try:
        fleet.compose("up", "--detach", "--no-deps", *PROCESSES)
        eventually("ready", lambda: fleet.readiness() == "ready", 120)
        yield fleet
    finally:
        fleet.compose("down", "--timeout", "5")
