"""`polyphony evaluate speech` where no gateway answers: what it says, and how it ends."""

import json

import pytest
from typer.testing import CliRunner

from evaluation.speech_set import maker, manifest
from evaluation.speech_set.manifest import EvaluationClip
from fleet.cli.main import app
from fleet.errors import FleetError

DEAD = "http://127.0.0.1:9"
MADE = {"voices": ("ann",), "condition": "clean", "seconds": 1.0, "origin": "a test", "licence": "Apache-2.0"}


@pytest.fixture
def folder(tmp_path):
    clip = EvaluationClip(id="one", text="Good day.", language="en", **MADE)
    (tmp_path / clip.file).write_bytes(b"no sound")
    manifest.write(tmp_path, [clip], ["the voice slt: apt-get install flite"])
    return tmp_path


def evaluate(*words):
    return CliRunner().invoke(app, ["evaluate", "speech", *map(str, words)], env={"POLYPHONY_FLEET_GATEWAY_URL": DEAD})


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--gateway", "foo"), "--gateway must be a URL such as http://host:8080, got foo"),
        (("--only", "transcribe,sing"), "unknown task sing; known tasks: transcribe, diarize"),
        (("--markdown", "absent.md"), "cannot read absent.md"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(folder, words, text):
    result = evaluate("--folder", folder, *words)
    assert isinstance(result.exception, FleetError)
    assert str(result.exception).startswith(text)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / manifest.NAME).write_text('{"songs": []}')
    result = evaluate("--folder", tmp_path)
    assert "is not a speech evaluation set" in str(result.exception)


def test_a_document_without_a_place_for_figures_is_refused(folder):
    (folder / "page.md").write_text("# Nothing\n")
    result = evaluate("--folder", folder, "--markdown", folder / "page.md")
    assert "has no line <!-- measured: begin -->" in str(result.exception)


def test_what_has_no_answer_is_named_and_what_the_set_lacks_too(folder):
    page = folder / "page.md"
    page.write_text("# Figures\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nThe end.\n")
    words = ("--folder", folder, "--only", "transcribe", "--json", folder / "found.json", "--markdown", page)
    result = evaluate(*words)
    assert result.exit_code == 0
    assert "missing from the set: the voice slt: apt-get install flite" in result.output
    found = json.loads((folder / "found.json").read_text())["transcribe"]
    assert [failure["item"] for failure in found["failures"]] == ["one, fitted window", "one, full window"]
    assert found["tables"] == []
    written = page.read_text()
    assert written.startswith("# Figures\n<!-- measured: begin -->\n\nOn 2")
    assert "2 without an answer: the gateway at http://127.0.0.1:9 does not answer" in written
    assert "old" not in written
    assert written.endswith("<!-- measured: end -->\nThe end.\n")


def test_that_the_set_is_made_is_said_where_no_terminal_shows_it(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(maker, "make", lambda place, console: made.append(place) or manifest.Manifest((), ()))
    result = evaluate("--folder", tmp_path / "new", "--only", "transcribe")
    assert made == [tmp_path / "new"]
    assert result.stderr.startswith(f"building the evaluation set in {tmp_path / 'new'}")
