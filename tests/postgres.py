"""A Postgres with pgvector for tests."""

import asyncio
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from fleet.runner import ports
from fleet.runner.postgres import ENVIRONMENT, Postgres

# The data need not survive the tests.
UNSAFE = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class RunningPostgres:
    """A cluster that tests may stop and start."""

    def __init__(self, folder: Path) -> None:
        self.cluster = Postgres(folder / "data", folder / "password", ports.free(), "nobody", folder)
        self.cluster.prepare()
        self.url = self.cluster.url
        self.start()

    def start(self) -> None:
        user = self.cluster.user()
        self._process = subprocess.Popen(
            [*self.cluster.command(), *UNSAFE],
            env=ENVIRONMENT,
            user=user and user[0],
            group=user and user[1],
            stderr=subprocess.DEVNULL,
        )
        with ThreadPoolExecutor(1) as thread:  # this one may run an event loop
            thread.submit(asyncio.run, asyncio.wait_for(self.cluster.provision(), 30)).result()

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # ends its sessions too
        self._process.wait()

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url.rpartition("/")[0] + f"/{name}"
