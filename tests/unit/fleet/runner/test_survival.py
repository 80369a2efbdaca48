"""The supervisor on a full disk, with deleted folders, without descriptors, and with processes that hang."""

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fleet.runner import liveness, state
from fleet.runner.lock import exclusive
from fleet.runner.process import Process
from fleet.runner.supervisor import Supervisor
from fleet.settings import FleetSettings

SLEEPS = "import time; time.sleep(600)"
ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
        print("answered", flush=True)
    def log_message(self, *unused):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
FULL = Path("/dev/full")


def child(code: str, *arguments: str, **fields) -> Process:
    command = (sys.executable, "-c", code, *arguments)
    fields = {"protocol": "postgres", "host": "127.0.0.1", "port": 1, **fields}
    return Process(name="child", command=command, environment={}, **fields)


async def restarted(supervisor: Supervisor, until) -> int:
    """Kill the child and wait for the next one; returns its pid."""
    one = supervisor.children["child"]
    await until(lambda: one.state.state == "running")
    before = one.state.pid
    os.kill(before, signal.SIGKILL)
    await until(lambda: one.state.state == "running" and one.state.pid != before)
    return one.state.pid


async def test_a_process_that_ends_on_a_full_disk_is_restarted_and_recorded_later(
    settings: FleetSettings, supervised, until
):
    written = settings.run_dir / "fleet.json"
    with exclusive(state.lock_path(settings.run_dir), "held"):
        async with supervised(child(SLEEPS)) as supervisor:
            await until(lambda: written.exists() and state.read(settings.run_dir).processes[0].state == "running")
            first = state.read(settings.run_dir).processes[0].pid
            full = settings.run_dir / "fleet.json.new"  # the state is written to it first
            full.symlink_to(FULL)
            log = settings.logs_dir / "child.log"
            log.unlink()
            log.symlink_to(FULL)
            second = await restarted(supervisor, until)
            assert state.FleetState.model_validate_json(written.read_text()).processes[0].pid == first
            seen = state.read(settings.run_dir).processes[0]
            assert (seen.state, seen.pid) == ("waiting", None)
            assert seen.reason == f"process {first} has ended; the supervisor has not recorded it yet"
            full.unlink()
            await until(lambda: state.read(settings.run_dir).processes[0].pid == second)


async def test_a_pid_of_another_process_is_not_taken_for_the_recorded_one():
    mine = state.ProcessState(
        name="a", protocol="grpc", host="h", port=1, address="", pid=os.getpid(), state="running", start_ticks=1
    )
    assert (mine.observed().pid, mine.observed().state) == (None, "waiting")
    same = mine.model_copy(update={"start_ticks": state.start_ticks(os.getpid())})
    assert same.observed() is same


async def test_deleted_folders_are_restored_with_the_lock(settings: FleetSettings, home: Path, until):
    run_dir = settings.run_dir
    with exclusive(state.lock_path(run_dir), "held") as lock:
        supervisor = Supervisor(settings, [child(SLEEPS)], lock)
        running = asyncio.create_task(supervisor.run())
        await until(lambda: (run_dir / "fleet.json").exists())
        shutil.rmtree(run_dir)
        shutil.rmtree(settings.logs_dir)
        pid = await restarted(supervisor, until)
        await until(lambda: (run_dir / "fleet.json").exists() and state.read(run_dir).processes[0].pid == pid)
        with (
            pytest.raises(Exception, match="somebody is here"),
            exclusive(state.lock_path(run_dir), "somebody is here"),
        ):
            pass
        assert (settings.logs_dir / "child.log").exists()
        supervisor.stop()
        await running


async def test_a_process_starts_when_there_are_descriptors_again(settings: FleetSettings, supervised, until):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with supervised(child(SLEEPS)) as supervisor:
        one = supervisor.children["child"]
        await until(lambda: one.state.state == "running")
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            os.kill(one.state.pid, signal.SIGKILL)
            await until(lambda: "Too many open files" in one.state.reason)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await until(lambda: one.state.state == "running")


async def test_a_failed_fork_is_tried_again(supervised, until, monkeypatch: pytest.MonkeyPatch):
    calls, real = [], subprocess.Popen

    def popen(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        if len(calls) == 2:
            raise subprocess.SubprocessError("Exception occurred in preexec_fn.")
        return real(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    async with supervised(child(SLEEPS)) as supervisor:
        one = supervisor.children["child"]
        await until(lambda: one.state.state == "running")
        assert one.state.restarts == 2
        assert one.state.reason == "could not be started: Exception occurred in preexec_fn."


async def test_preparing_a_started_process_is_retried(supervised, until, monkeypatch):
    monkeypatch.setattr("fleet.runner.child.PREPARE_AGAIN_SECONDS", 0.01)
    attempts = []

    async def prepare() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError(28, "No space left on device")

    async with supervised(child(SLEEPS, after=prepare)) as supervisor:
        one = supervisor.children["child"]
        await until(lambda: one.state.state == "running")
        assert (len(attempts), one.state.restarts) == (3, 0)


@pytest.fixture
def impatient(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch) -> FleetSettings:
    monkeypatch.setattr("fleet.runner.child.HUNG_STOP_SECONDS", 0.2)
    fields = {"liveness_period_seconds": 0.1, "liveness_timeout_seconds": 1.0, "liveness_failure_threshold": 2}
    return settings.model_copy(update=fields)


async def test_a_hung_process_is_killed_and_restarted(impatient: FleetSettings, until, free_port: int):
    process = child(ANSWERS, str(free_port), "200", protocol="http", port=free_port)
    supervisor = Supervisor(impatient, [process])
    running = asyncio.create_task(supervisor.run())
    one = supervisor.children["child"]
    log = impatient.logs_dir / "child.log"
    await until(lambda: log.exists() and log.read_text().count("answered") > 1)  # so the first answer was received
    hung = psutil.Process(one.state.pid)
    hung.suspend()
    await until(lambda: one.state.restarts == 1 and one.state.state == "running")
    assert one.state.reason.startswith("answered no health check for ")
    assert not hung.is_running()
    assert "; ending it\n" in log.read_text()
    assert "child did not exit within 0.2 s; killing it" in log.read_text()
    supervisor.stop()
    await running


class Health:
    """Health checks whose answers are given; `end` is raised after the last."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def __call__(self, process: Process, seconds: float) -> str:
        if not self.answers:
            raise EOFError
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        (("serving", "silent", "silent", "silent", "serving"), 1),
        (("serving", "silent", "silent", "not_serving", "silent", "silent", "silent", "serving"), 1),
        (("serving", "refused", "refused", "refused", "refused"), None),
        (("serving", "not_serving", "not_serving", "not_serving"), None),
        (("silent",) * 9, None),  # it starts
        (("refused", "not_serving", *("silent",) * 9), None),
    ],
)
async def test_only_consecutive_silence_after_the_start_counts(settings: FleetSettings, answers, left):
    health = Health(*answers)
    quick = settings.model_copy(update={"liveness_period_seconds": 0.001})
    if left is None:
        with pytest.raises(EOFError):
            await liveness.until_hung(child(SLEEPS), quick, health)
    else:
        await liveness.until_hung(child(SLEEPS), quick, health)
        assert len(health.answers) == left


async def test_silence_counts_after_the_grace_time(settings: FleetSettings):
    health = Health(*("silent",) * 5)
    quick = settings.model_copy(update={"liveness_period_seconds": 0.001, "liveness_grace_seconds": 0.0001})
    await liveness.until_hung(child(SLEEPS), quick, health)
    assert len(health.answers) == 2


async def test_no_silence_is_counted_while_the_supervisor_itself_is_late(settings: FleetSettings, monkeypatch):
    monkeypatch.setattr(liveness, "LATE_SECONDS", -1000.0)
    health = Health("serving", *("silent",) * 9)
    quick = settings.model_copy(update={"liveness_period_seconds": 0.001})
    with pytest.raises(EOFError):
        await liveness.until_hung(child(SLEEPS), quick, health)


async def test_a_threshold_of_zero_restarts_nothing(settings: FleetSettings):
    health = Health("serving", *("silent",) * 9)
    quick = settings.model_copy(update={"liveness_period_seconds": 0.001, "liveness_failure_threshold": 0})
    with pytest.raises(EOFError):
        await liveness.until_hung(child(SLEEPS), quick, health)
