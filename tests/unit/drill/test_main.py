"""The report of the drills."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from drill import __main__ as drill
from drill import full_disk
from drill.result import DrillResult, Skipped
from fleet.temporary import TemporaryFleet


def raising(error: Exception):
    def run(fleet):
        raise error

    return run


DRILLS = {
    "kept": lambda fleet: DrillResult("all was well", True),
    "broken": lambda fleet: DrillResult("one was lost", False),
    "failed": raising(KeyError("postgres")),
    "skipped": raising(Skipped("needs root")),
}


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`status, rows = report("kept", ...)`: the exit status and the rows of these drills, on no fleet."""
    table = {name: SimpleNamespace(PROMISE=f"promise of {name}", SHORT=True, run=run) for name, run in DRILLS.items()}
    monkeypatch.setattr(drill, "DRILLS", table)
    monkeypatch.setattr(drill, "small_home", nullcontext)
    monkeypatch.setattr(drill, "running", lambda *arguments, **settings: nullcontext())

    def run(*arguments: str):
        monkeypatch.setattr("sys.argv", ["drill", *arguments])
        with pytest.raises(SystemExit) as ended:
            drill.main()
        return ended.value.code, capsys.readouterr().out

    return run


def test_a_broken_promise_and_an_error_are_reported_and_the_others_run_all_the_same(report):
    status, output = report("--json")
    rows = {row["drill"]: (row["promise"], row["happened"], row["verdict"]) for row in json.loads(output)}
    assert rows == {
        "kept": ("promise of kept", "all was well", "kept"),
        "broken": ("promise of broken", "one was lost", "broken"),
        "failed": ("promise of failed", "KeyError: 'postgres'", "broken"),
        "skipped": ("promise of skipped", "needs root", "skipped"),
    }
    assert status == 1


def test_kept_and_skipped_promises_are_a_success(report):
    status, output = report("kept", "skipped")
    assert status == 0
    assert "all was well" in output
    assert "needs root" in output


def test_an_unknown_drill_is_named(report, capsys):
    status, _ = report("no-such")
    assert status == 2


def test_a_home_without_a_file_system_of_its_own_is_not_filled(tmp_path):
    with pytest.raises(Skipped, match="only root may mount"):
        full_disk.run(TemporaryFleet(tmp_path, {}))
