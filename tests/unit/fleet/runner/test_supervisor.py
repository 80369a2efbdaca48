"""The supervisor, with children that are a line of Python each."""

import asyncio
import fcntl
import os
import signal
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from fleet.errors import FleetError
from fleet.runner import state
from fleet.runner.lock import exclusive, is_held
from fleet.runner.process import Process
from fleet.settings import FleetSettings

SLEEPS = "import time; time.sleep(60)"
NOTES_ITS_END = """
import signal, sys, time
def end(*unused):
    with open(sys.argv[1], "a") as file:
        file.write(sys.argv[2] + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(60)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True: time.sleep(60)
"""


def child(name: str, code: str, *arguments: str, **fields) -> Process:
    command = (sys.executable, "-c", code, *arguments)
    fields = {"protocol": "postgres", "host": "127.0.0.1", "port": 1, **fields}
    return Process(name=name, command=command, environment={}, **fields)


async def test_a_crash_is_logged_and_waited_for_longer_each_time(settings: FleetSettings, supervised, until):
    async with supervised(child("broken", "import sys; sys.exit(7)"), child("sound", SLEEPS)) as supervisor:
        await until(lambda: supervisor.children["broken"].state.restarts == 2)
        sound = supervisor.children["sound"].state
        assert (sound.state, sound.restarts) == ("running", 0)
        log = (settings.logs_dir / "broken.log").read_text()
        assert "exited with status 7; restarting in 0.5 s" in log
        assert "restarting in 1 s" in log
    assert not psutil.pid_exists(sound.pid or 0)


async def test_the_end_is_in_order_and_a_deaf_process_is_killed(settings: FleetSettings, home: Path, supervised, until):
    notes, deaf_log = home / "notes", settings.logs_dir / "deaf.log"
    stages = {"store": 0, "service": 1, "door": 2}
    listening = [child(name, NOTES_ITS_END, str(notes), name, stage=stage) for name, stage in stages.items()]
    async with supervised(*listening, child("deaf", DEAF, stop_seconds=0.3)):
        logs = [settings.logs_dir / f"{name}.log" for name in (*stages, "deaf")]
        await until(lambda: all(log.exists() and log.read_text() for log in logs))
    assert notes.read_text().split() == ["door", "service", "store"]
    assert "deaf did not exit within 0.3 s; killing it" in deaf_log.read_text()


async def test_one_counts_as_running_once_it_has_been_made_ready(supervised, until):
    ready = asyncio.Event()
    async with supervised(child("slow", SLEEPS, after=ready.wait)) as supervisor:
        slow = supervisor.children["slow"]
        await until(lambda: slow.state.pid)
        assert slow.state.state == "starting"
        ready.set()
        await until(lambda: slow.state.state == "running")


async def test_children_go_when_the_supervisor_is_killed(home: Path):
    code = f"""
    import asyncio
    from fleet.settings import FleetSettings
    from fleet.runner.supervisor import Supervisor
    from fleet.runner.process import Process
    import sys
    sleeps = Process("sleeps", (sys.executable, "-c", {SLEEPS!r}), {{}}, "grpc", "127.0.0.1", 1)
    asyncio.run(Supervisor(FleetSettings(home={str(home)!r}), [sleeps]).run())
    """
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", textwrap.dedent(code))
    run_dir = home / "run"
    with exclusive(state.lock_path(run_dir), "held"):  # so that the state may be read
        pid = None
        async with asyncio.timeout(60):
            while pid is None:
                await asyncio.sleep(0.05)
                if (run_dir / "fleet.json").exists():
                    pid = state.read(run_dir).processes[0].pid
    sleeper = psutil.Process(pid)
    os.kill(supervisor.pid, signal.SIGKILL)
    await supervisor.wait()
    await asyncio.to_thread(sleeper.wait, 30)


def test_a_test_of_the_lock_never_makes_a_start_fail(home: Path, monkeypatch: pytest.MonkeyPatch):
    path = state.lock_path(home / "run")
    with exclusive(path, "held"):
        pass
    taken = []

    def then_take(real):
        def call(*arguments):
            result = real(*arguments)
            monkeypatch.undo()
            with exclusive(path, "the test holds the lock"):
                taken.append(path)
            return result

        return call

    for name in ("flock", "fcntl"):
        monkeypatch.setattr(fcntl, name, then_take(getattr(fcntl, name)))
    assert not is_held(path)
    assert taken


def test_one_fleet_a_home(home: Path):
    path = state.lock_path(home / "run")
    assert not is_held(path)
    with exclusive(path, "held"):
        assert is_held(path)
        with pytest.raises(FleetError, match=r"^somebody is here$"), exclusive(path, "somebody is here"):
            pass
    assert not is_held(path)
    with pytest.raises(FleetError, match="polyphony up"):
        state.read(home / "run")


async def test_the_log_of_the_supervisor_itself_is_rotated(settings: FleetSettings, until):
    code = f"""
    import asyncio, sys
    from fleet.runner import process_log
    from fleet.runner.supervisor import Supervisor
    from fleet.settings import FleetSettings
    process_log.MAX_BYTES = 1000
    print("x" * 2000, file=sys.stderr, flush=True)
    asyncio.run(Supervisor(FleetSettings(home={str(settings.home)!r}), []).run())
    """
    settings.logs_dir.mkdir()
    log = settings.logs_dir / "supervisor.log"
    with log.open("ab+") as output:  # as `polyphony up` opens it
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(code), stderr=output, stdout=output
        )
    async with asyncio.timeout(60):
        await until((settings.logs_dir / "supervisor.log.1").exists)
        await until(lambda: log.stat().st_size == 0)
    supervisor.kill()
    await supervisor.wait()
    assert (settings.logs_dir / "supervisor.log.1").read_text() == "x" * 2000 + "\n"
