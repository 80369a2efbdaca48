"""`polyphony canary` where no gateway answers: what it says, and how it ends."""

import json
import signal
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from fleet.cli.main import app
from fleet.errors import FleetError

DEAD = "http://127.0.0.1:9"


def canary(home, *words):
    command = [sys.executable, "-c", "from fleet.cli.main import main; main()", "canary", *map(str, words)]
    environment = {"POLYPHONY_HOME": str(home)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "no fleet is running"),
        (("--gateway", "http://a:b"), "--gateway must be a URL, got http://a:b"),
        (("--gateway", DEAD, "--push", DEAD), f"cannot push the gauges to {DEAD}"),
        (("--gateway", DEAD, "--baseline", "absent.json"), "cannot use the baseline absent.json"),
    ],
)
def test_what_is_foreseen_is_said_in_a_line(tmp_path, words, text):
    with canary(tmp_path, *words) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert text in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "variables", "text"),
    [
        (("--gateway", "foo"), {}, "--gateway must be a URL such as http://host:8080, got foo"),
        (("--gateway", "ftp://host"), {}, "--gateway must be a URL such as http://host:8080, got ftp://host"),
        (("--push", "nonsense"), {}, "--push must be a URL such as http://host:8080, got nonsense"),
        (("--push", "host:9091"), {}, "--push must be a URL such as http://host:8080, got host:9091"),
        (("--push", "http://"), {}, "--push must be a URL such as http://host:8080, got http://"),
        (
            (),
            {"POLYPHONY_FLEET_GATEWAY_URL": "foo"},
            "POLYPHONY_FLEET_GATEWAY_URL must be a URL such as http://host:8080, got foo",
        ),
        (("--key", "two\nlines"), {}, "the API key (POLYPHONY_FLEET_API_KEY, or --key) must be printable ASCII"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(words, variables, text):
    result = CliRunner().invoke(app, ["canary", *words], env={"POLYPHONY_FLEET_GATEWAY_URL": DEAD, **variables})
    assert isinstance(result.exception, FleetError)
    assert str(result.exception).startswith(text)
    assert result.output == ""


def test_every_failure_is_named_and_counted(tmp_path):
    with canary(tmp_path, "--gateway", DEAD, "--json") as process:
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert all(row["failures"] == row["items"] > 0 and not row["quality"] for row in json.loads(printed).values())


def test_a_canary_that_is_stopped_exits(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        with canary(tmp_path, "--gateway", f"http://127.0.0.1:{silent.getsockname()[1]}") as process:
            connection, _ = silent.accept()
            with connection:
                process.terminate()
                process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
