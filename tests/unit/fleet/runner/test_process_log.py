"""Logs that are rotated while a process writes to them."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.runner import logs, process_log
from fleet.runner.process_log import ProcessLog


class Writer:
    """A process that appends the lines that it is sent to its log."""

    def __init__(self, log: ProcessLog) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", "while read -r line; do echo $line; echo $line >&3; done 3>&2"],
            stdin=subprocess.PIPE,
            stdout=log.open(),
            stderr=subprocess.PIPE,
            text=True,
        )

    def write(self, line: str) -> None:
        assert self.process.stdin
        assert self.process.stderr
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        assert self.process.stderr.readline() == f"{line}\n"  # it has written the line


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(process_log, "MAX_BYTES", 100)
    monkeypatch.setattr(process_log, "CHUNK_BYTES", 30)
    return tmp_path / "a.log"


@pytest.fixture
def log(path: Path) -> Iterator[ProcessLog]:
    log = ProcessLog(path)
    yield log
    log.close()


@pytest.fixture
def writer(log: ProcessLog) -> Iterator[Writer]:
    writer = Writer(log)
    yield writer
    writer.process.communicate()


def test_a_long_log_moves_to_its_predecessor_and_the_process_writes_on(path: Path, log: ProcessLog, writer: Writer):
    writer.write("x" * 50)
    log.rotate()
    assert not path.with_suffix(".log.1").exists()
    for round_of in ("first", "second"):
        writer.write(f"{round_of} {'x' * 100}")
        log.rotate()
        assert path.read_text() == ""
        writer.write(f"after the {round_of}")
        log.note("noted")
        assert path.read_text() == f"after the {round_of}\nsupervisor: noted\n"
        assert f"{round_of} x" in path.with_suffix(".log.1").read_text()
    assert "after the first\nsupervisor: noted\nsecond x" in path.with_suffix(".log.1").read_text()
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.log", "a.log.1"]
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_a_log_that_cannot_be_copied_is_left_as_it_is(path: Path, log: ProcessLog, writer: Writer):
    writer.write("x" * 200)
    path.with_suffix(".log.1.new").symlink_to("/dev/full")
    log.rotate()
    assert path.read_text() == "x" * 200 + "\n"
    assert [file.name for file in path.parent.iterdir()] == ["a.log"]
    log.rotate()
    assert path.read_text() == ""


def test_a_process_whose_log_cannot_be_opened_writes_to_the_null_device(tmp_path: Path):
    (tmp_path / "file").touch()
    log = ProcessLog(tmp_path / "file" / "a.log")
    writer = Writer(log)
    writer.write("lost")
    log.note("lost")
    log.rotate()
    log.close()
    writer.process.communicate()
    assert (tmp_path / "file").read_text() == ""


def test_a_rotated_log_is_followed_from_its_start(path: Path, log: ProcessLog, writer: Writer):
    writer.write("x" * 200)
    lines = logs.follow(path.parent, "a")

    def rotate_and_write(_: float) -> None:
        log.rotate()
        writer.write("after")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logs.time, "sleep", rotate_and_write)
        assert next(lines) == "after\n"
        lines.close()
