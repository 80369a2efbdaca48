"""The rules: valid, tried by promtool, and each alert written about in the runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from dashboards.rules import groups
from dashboards.rules.rule import RUNBOOK, Alert
from tests.operations.queries import ROOT, RULES

TESTS = sorted(Path(__file__).parent.glob("*.test.yaml"))
ALERTS = [alert for group in groups() for alert in group.alerts]
LABEL = re.compile(r"\$labels\.(\w+)")

promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="absent: apt-get install prometheus")


def run(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@promtool
def test_prometheus_takes_the_rules_and_the_configuration():
    assert run("check", "rules", *RULES).count("SUCCESS") == len(RULES)
    assert f"{len(RULES)} rule files found" in run("check", "config", "dashboards/prometheus.yml")


@promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_only_then(path):
    run("test", "rules", path)


def cases(alert: Alert) -> list[dict]:
    """The promtool tests of an alert."""
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return [test for test in tests if test["name"].partition(",")[0] == alert.title]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.title)
def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(alert):
    name = f'alertname="{alert.title}"'
    asked = [row for test in cases(alert) for row in test["promql_expr_test"] if row["expr"].startswith("ALERTS")]
    fired = [sample["labels"] for row in asked for sample in row.get("exp_samples", ()) if name in sample["labels"]]
    assert fired
    quiet = [row for row in asked if not row.get("exp_samples")]
    healthy = len([series for test in cases(alert) for series in test["input_series"]]) > len(fired)
    assert quiet or healthy
    for labels in fired:  # what its texts name is there to be named
        assert set(LABEL.findall(alert.summary + alert.description)) <= set(re.findall(r"(\w+)=", labels))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.title)
def test_every_alert_has_its_paragraph_in_the_runbook(alert):
    runbook = (ROOT / "docs" / RUNBOOK).read_text()
    _, _, rest = runbook.partition(f"\n## {alert.title}\n")
    assert rest, f"{RUNBOOK} has no heading {alert.title}"
    paragraph = rest.partition("\n## ")[0]
    assert len(paragraph.split()) > 40
    assert "`" in paragraph
    assert alert.row()["annotations"]["runbook_url"] == f"how-to/runbook.md#{alert.title.lower()}"


def test_the_runbook_speaks_of_no_alert_that_is_gone():
    headings = re.findall(r"^## (Polyphony\w+)$", (ROOT / "docs" / RUNBOOK).read_text(), re.MULTILINE)
    assert headings == [alert.title for alert in ALERTS]
