import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest

from fleet.errors import FleetError
from fleet.runner import plan
from fleet.runner.postgres import Postgres
from fleet.settings import FleetSettings
from servekit.models import catalogue


def cluster(settings: FleetSettings) -> Postgres:
    postgres = plan.database(settings, catalogue.profile("embedded"))
    assert postgres is not None
    postgres.prepare()
    return postgres


async def test_it_keeps_what_was_written_through_a_kill_a_lost_password_and_a_new_fleet(
    settings: FleetSettings, supervised, until
):
    postgres = cluster(settings)
    async with supervised(plan.server(postgres)) as supervisor:
        child = supervisor.children["postgres"]
        await until(lambda: child.state.state == "running")

        assert postgres.password_file.stat().st_mode & 0o777 == 0o600
        async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
            version = await connection.execute("SELECT '[3,4]'::vector <-> '[0,0]'")
            assert await version.fetchone() == (5.0,)
            await connection.execute("CREATE TABLE kept (word text)")
            await connection.execute("INSERT INTO kept VALUES ('still here')")
        wrong = postgres.url.replace(postgres.password_file.read_text(), "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            await psycopg.AsyncConnection.connect(wrong)
        addresses = {row.laddr[0] for row in psutil.Process(child.state.pid).net_connections()}
        assert addresses == {"127.0.0.1"}

        psutil.Process(child.state.pid).kill()
        await until(lambda: child.state.restarts == 1 and child.state.state == "running")
        assert "SIGKILL" in child.state.reason
        assert await kept(postgres) == "still here"
    assert child.state.state == "stopped"
    assert "SIGKILL" in (settings.logs_dir / "postgres.log").read_text()

    postgres.password_file.unlink()
    again = cluster(settings)
    (again.data / "postmaster.pid").write_text(f"{psutil.Process().pid}\n")  # a stale file; its pid is another's now
    async with supervised(plan.server(again)) as supervisor:
        await until(lambda: supervisor.children["postgres"].state.state == "running")
        assert await kept(again) == "still here"


async def test_a_server_that_outlived_its_fleet_is_stopped_first(settings: FleetSettings):
    postgres = cluster(settings)
    process = plan.server(postgres)
    user = process.user or (None, None)
    orphan = subprocess.Popen(  # noqa: ASYNC220 - nobody is to reap it in the background
        process.command, env=process.environment, user=user[0], group=user[1], stderr=subprocess.DEVNULL
    )
    await postgres.provision()
    await asyncio.to_thread(postgres.clear_leftovers)
    assert orphan.wait(0) == 0
    assert not (postgres.data / "postmaster.pid").exists()


async def test_it_starts_again_after_all_its_processes_hung(settings: FleetSettings, supervised, until):
    postgres = cluster(settings)
    async with supervised(plan.server(postgres)) as supervisor:
        child = supervisor.children["postgres"]
        await until(lambda: child.state.state == "running")
        server = psutil.Process(child.state.pid)
        helpers = server.children()
        for process in (server, *helpers):
            process.suspend()
        server.kill()  # as the supervisor does with a hung process
        await until(lambda: child.state.restarts >= 1 and child.state.state == "running")
        assert child.state.restarts == 1
        assert not any(process.is_running() for process in helpers)


async def test_it_starts_again_after_its_run_folder_was_deleted(settings: FleetSettings, supervised, until):
    postgres = cluster(settings)
    password = postgres.password
    async with supervised(plan.server(postgres)) as supervisor:
        child = supervisor.children["postgres"]
        await until(lambda: child.state.state == "running")
        shutil.rmtree(settings.run_dir)
        psutil.Process(child.state.pid).kill()
        await until(lambda: child.state.restarts >= 1 and child.state.state == "running")
    assert postgres.password_file.read_text() == password


async def test_other_accounts_pass_through_its_folders_and_list_none(settings: FleetSettings, supervised, until):
    before = os.umask(0o077)
    try:
        postgres = cluster(settings)
        async with supervised(plan.server(postgres)) as supervisor:
            await until(lambda: supervisor.children["postgres"].state.state == "running")
    finally:
        os.umask(before)
    passed = 0o711 if os.geteuid() == 0 else 0o700
    assert {folder.stat().st_mode & 0o777 for folder in (settings.run_dir, settings.home / "data")} == {passed}
    inside = [path for path in postgres.data.rglob("*") if path.exists()]
    assert {path.name: oct(path.stat().st_mode) for path in inside if path.stat().st_mode & 0o077} == {}


def test_an_account_that_is_not_there_is_named(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    chosen = settings.model_copy(update={"postgres_user": "no-such-account"})
    with pytest.raises(FleetError, match=r"account 'no-such-account' does not exist.*POLYPHONY_FLEET_POSTGRES_USER"):
        cluster(chosen)


def test_a_home_behind_a_shut_door_is_named(settings: FleetSettings, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    home.chmod(0o700)
    with pytest.raises(FleetError, match=f"cannot pass through {home}.*chmod"):
        cluster(settings)


async def kept(postgres: Postgres) -> str:
    async with await psycopg.AsyncConnection.connect(postgres.url) as connection:
        row = await (await connection.execute("SELECT word FROM kept")).fetchone()
        assert row is not None
        return str(row[0])
