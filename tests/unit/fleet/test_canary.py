"""`polyphony canary` where no gateway answers: what it says, and how it ends."""

import json
import signal
import socket
import subprocess
import sys

import pytest

DEAD = "http://127.0.0.1:9"


def canary(home, *words):
    command = [sys.executable, "-c", "from fleet.cli import main; main()", "canary", *map(str, words)]
    environment = {"POLYPHONY_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "no fleet runs"),
        (("--gateway", "http://a:b"), "http://a:b is no URL of a gateway"),
        (("--gateway", DEAD, "--push", DEAD), f"the gauges could not be pushed to {DEAD}"),
        (("--gateway", DEAD, "--baseline", "absent.json"), "the baseline absent.json cannot be used"),
    ],
)
def test_what_is_foreseen_is_said_in_a_line(tmp_path, words, text):
    with canary(tmp_path, *words) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert text in error
    assert len(error.strip().splitlines()) == 1


def test_every_failure_is_named_and_counted(tmp_path):
    with canary(tmp_path, "--gateway", DEAD, "--json") as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert all(row["failures"] == row["items"] > 0 and not row["quality"] for row in json.loads(printed).values())


def test_told_to_end_it_ends(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        with canary(tmp_path, "--gateway", f"http://127.0.0.1:{silent.getsockname()[1]}") as process:
            connection, _ = silent.accept()
            with connection:
                process.terminate()
                process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
