"""The command as a person runs it, in a home of its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fleet.runner import state
from fleet.runner.lock import exclusive
from fleet.runner.state import FleetState, ProcessState


def polyphony(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "POLYPHONY_HOME": str(home), "POLYPHONY_FLEET_PORTS": "free", "COLUMNS": "200"}
    command = [sys.executable, "-c", "from fleet.cli.main import main; main()", *words]
    return subprocess.run(
        command, env={**environment, **variables}, capture_output=True, text=True, timeout=60, check=False
    )


def test_missing_weights_stop_the_start_and_say_what_to_run(home: Path):
    done = polyphony(home, "up", "--profile", "embedded")
    assert done.returncode == 1
    assert "has no weights of pp-ocrv6-small, " in done.stderr
    assert "polyphony models pull --profile embedded" in done.stderr
    assert "no fleet is running" in polyphony(home, "status").stderr


def test_a_home_that_cannot_be_written_is_named(home: Path):
    (home / "file").touch()
    done = polyphony(home / "file" / "home", "up", "--profile", "fake")
    assert done.returncode == 1
    assert "polyphony: the home must be a folder that can be written: [Errno 20] Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_stops_the_start(home: Path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        done = polyphony(home, "up", "--profile", "fake", POLYPHONY_GATEWAY_HTTP_PORT=port)
    assert done.returncode == 1
    assert f"port {port} is in use by process {os.getpid()}" in done.stderr
    assert "POLYPHONY_GATEWAY_HTTP_PORT" in done.stderr


def test_another_profile_and_a_second_start_find_the_fleet_that_runs(home: Path):
    store = ProcessState(
        name="postgres", protocol="postgres", host="127.0.0.1", port=1, address="here", state="running"
    )
    with exclusive(state.lock_path(home / "run"), "held"):
        state.write(FleetState(pid=os.getpid(), profile="fake", url="", processes=[store]), home / "run")
        other = polyphony(home, "up", "--profile", "gpu")
        same = polyphony(home, "up", "--profile", "fake")
    assert other.returncode == 1
    assert "a fleet of profile fake is running" in other.stderr
    assert same.returncode == 0
    assert "postgres   here" in same.stdout


@pytest.mark.parametrize("words", [["models", "pull", "nothing"], ["models", "verify", "--profile", "nothing"]])
def test_an_unknown_name_lists_the_known_ones(home: Path, words: list[str]):
    done = polyphony(home, *words)
    assert done.returncode == 1
    assert "the catalogue has no" in done.stderr
    assert "it has" in done.stderr


def test_what_does_not_run_is_stopped_already_and_has_no_logs(home: Path):
    assert polyphony(home, "down").returncode == 0
    done = polyphony(home, "logs", "vision")
    assert done.returncode == 1
    assert "no log of 'vision'" in done.stderr


def test_the_list_says_what_is_here(home: Path):
    done = polyphony(home, "models", "list")
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line.split()}
    assert rows["whisper-base"] == "no"
    assert rows["fake-reader"] == "yes"


def test_the_status_is_data_too(home: Path):
    this = ProcessState(
        name="postgres",
        protocol="postgres",
        host="h",
        port=1,
        address="a",
        state="running",
        pid=os.getpid(),
        start_ticks=state.start_ticks(os.getpid()),
    )
    with exclusive(state.lock_path(home / "run"), "held"):
        state.write(FleetState(pid=os.getpid(), profile="fake", url="", processes=[this]), home / "run")
        rows = json.loads(polyphony(home, "status", "--json").stdout)
    assert [row["process"] for row in rows] == ["postgres", "supervisor"]
    assert rows[0]["ready"] is True
    assert rows[0]["memory_mb"] > 5
