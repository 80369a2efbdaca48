"""The dashboards' files: fresh, unique, explained, and of metrics that somebody has."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dashboards.__main__ as command
from evaluation import gauges
from evaluation.replay import CanaryResult
from gateway.settings import GatewaySettings
from servekit.ops.telemetry import SECONDS, Telemetry
from tests.operations.queries import BOARDS, ROOT, RULES, Query, metrics, panels, queries

# Of others: NVIDIA's exporter, Kubernetes, KEDA, cert-manager, and Prometheus itself.
FOREIGN = ("DCGM_FI_", "kube_", "keda_", "certmanager_")
OWN = {"up", "ALERTS"}


def exposed(registry) -> set[str]:
    """The names that a registry's families have for Prometheus."""
    ends = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {family.name + end for family in registry.collect() for end in ends.get(family.type, [""])}


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Every metric that our processes and the canary have, and what the rules record."""
    settings = GatewaySettings(
        tls_certificate_file=Path("a.pem"), tls_key_file=Path("a.key"), tls_ca_file=Path("ca.pem")
    )
    canary = exposed(gauges.of_task(CanaryResult("chat", {"accuracy": 1.0}, 1, (), (), 0.1))) | exposed(
        gauges.of_success()
    )
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    return exposed(Telemetry(settings).registry) | canary | recorded | OWN


def rules() -> list[dict]:
    """Every rule of every file."""
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


@pytest.mark.parametrize(
    "asked",
    [pytest.param(q.expr, id=f"{q.board}: {q.panel}: {q.legend}") for q in queries()]
    + [pytest.param(rule["expr"], id=rule.get("alert") or rule["record"]) for rule in rules()],
)
def test_every_query_is_of_metrics_that_somebody_has(asked, known):
    unknown = {name for name in metrics(asked) - known if not name.startswith(FOREIGN)}
    assert not unknown


def test_a_metric_that_nobody_has_would_be_found(known):
    assert metrics('sum by (model) (rate(polyphony_made_up_total{job="a"}[5m])) > 1 and on (job) up == 1') == {
        "polyphony_made_up_total",
        "up",
    }
    assert "polyphony_made_up_total" not in known


@pytest.mark.parametrize(("board", "panel"), [pytest.param(b, p, id=f"{b}: {p['title']}") for b, p in panels()])
def test_every_panel_says_its_unit_and_what_to_do(board, panel):
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith((".", "`.", ")."))
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_a_latency_panel_leads_to_traces_and_no_other_asks_for_exemplars():
    for _, panel in panels():
        of_a_histogram = all("histogram_quantile" in target["expr"] for target in panel["targets"])
        assert [target["exemplar"] for target in panel["targets"]] == [of_a_histogram] * len(panel["targets"])
        assert bool(panel.get("links")) == of_a_histogram
        if of_a_histogram:
            assert "${traces}" in panel["links"][0]["url"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="absent: apt-get install prometheus")
@pytest.mark.parametrize("namespace", ["polyphony", ""])
def test_only_our_pods_wait_and_only_those_that_do(namespace, tmp_path):
    (expr,) = (query.expr for query in queries() if query.panel == "Pending pods")
    phases = {
        ("polyphony-vision-0", namespace): 1,
        ("polyphony-vision-1", namespace): 0,
        ("postgres-0", namespace): 1,
        ("shop-gateway-0", "shop"): 1,
    }
    given = [
        {"series": f'kube_pod_status_phase{{pod="{pod}", namespace="{of}", phase="Pending"}}', "values": str(waits)}
        for (pod, of), waits in phases.items()
    ]
    given.append({"series": f'up{{job="polyphony-gateway", namespace="{namespace}"}}', "values": "1"})
    labels = 'pod="polyphony-vision-0", phase="Pending"' + (f', namespace="{namespace}"' if namespace else "")
    waiting = f"kube_pod_status_phase{{{labels}}}"
    asked = {"expr": expr, "eval_time": "0m", "exp_samples": [{"labels": waiting, "value": 1}]}
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    (tmp_path / "board.yaml").write_text(yaml.safe_dump({"tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", tmp_path / "board.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_boards_and_panels_have_names_of_their_own():
    boards = [json.loads(path.read_text()) for path in BOARDS]
    assert [board["uid"] for board in boards] == [f"polyphony-{path.stem}" for path in BOARDS]
    assert len({board["title"] for board in boards}) == len(boards)
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_no_two_panels_of_a_board_overlap():
    for path in BOARDS:
        cells = set()
        for panel in json.loads(path.read_text())["panels"]:
            at = panel["gridPos"]
            area = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert max(x for x, _ in area) < 24
            assert not area & cells, (path.stem, panel["title"])
            cells |= area


def test_the_files_are_fresh():
    done = subprocess.run([sys.executable, "-m", "dashboards", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_stale_a_missing_and_a_left_over_file_are_named_and_written_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "CHART", tmp_path)
    monkeypatch.setattr(sys, "argv", ["dashboards"])
    command.main()
    (tmp_path / "dashboards" / "gpu.json").write_text("{}")
    (tmp_path / "rules" / "models.yaml").unlink()
    (tmp_path / "rules" / "old.yaml").write_text("")
    monkeypatch.setattr(sys, "argv", ["dashboards", "--check"])
    with pytest.raises(SystemExit, match=r"dashboards/gpu\.json, rules/models\.yaml, rules/old\.yaml: stale"):
        command.main()
    monkeypatch.setattr(sys, "argv", ["dashboards"])
    command.main()
    assert all(path.read_text() == text for path, text in command.files().items())
    assert not (tmp_path / "rules" / "old.yaml").exists()


def test_a_bound_of_an_objective_is_a_bound_of_the_histogram():
    bounds = {str(float(seconds)) for seconds in SECONDS}
    asked = {le for rule in rules() for le in _bounds(rule["expr"])}
    assert asked
    assert asked <= bounds


def _bounds(expr: str) -> list[str]:
    return [part.partition('"')[0] for part in expr.split('le="')[1:]]


def test_a_query_knows_its_legend():
    assert Query("b", "p", "{{job}} {{model}} 95%", "up").labels == {"job", "model"}
