"""Dashboards and alerts on a real fleet under load, as Prometheus and its alertmanager see it."""

import base64
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from evaluation import gauges
from evaluation.replay import CanaryResult
from fleet.runner import state
from fleet.temporary import TemporaryFleet, new_home, running
from servekit.models import catalogue
from tests.conftest import receiving
from tests.integration.conftest import Spans, picture, recording
from tests.operations.programs import (
    MISSING,
    Mailbox,
    Prometheus,
    alertmanager,
    configuration,
    eventually,
    k6,
    prometheus,
)
from tests.operations.queries import ROOT, Query, metrics, queries
from tests.pushgateway import pushgateway

FASTER = 120  # an hour in half a minute
SERVICES = tuple(catalogue.profile("fake").services)
BATCHING = ("vision", "retrieval")  # the other services' models stream: one caller a slot, no batches
CANARY = [  # what a replay of the labelled set would push
    CanaryResult("transcribe", {"word_error_rate": 0.04, "character_error_rate": 0.01}, 8, (), (), 9.5),
    CanaryResult("search", {"recall": 0.9}, 10, (), (), 0.8),
]
RECORDED = Path(__file__).with_name("recorded.txt")

pytestmark = [
    pytest.mark.serial,
    pytest.mark.skipif(bool(MISSING), reason=f"absent: apt-get install {' '.join(MISSING)}"),
]


@dataclass(frozen=True)
class Observed:
    """A fleet that is asked, scraped and watched."""

    fleet: TemporaryFleet
    prometheus: Prometheus
    mailbox: Mailbox
    spans: Spans
    folder: Path


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    (folder / "pictures.json").write_text(json.dumps([base64.b64encode(picture(n)).decode() for n in range(40)]))
    (folder / "recording.wav").write_bytes(recording())
    spans = Spans()
    # Slower than load.js is patient: what cannot be done in time is refused at once.
    latency = {"vision": 0.5, "speech": 0.3, "generation": 0.01, "retrieval": 0.3}
    settings = {
        f"POLYPHONY_{service.upper()}_MODEL_OPTIONS": json.dumps({"latency_seconds": seconds})
        for service, seconds in latency.items()
    }
    with (
        receiving(spans) as settings["POLYPHONY_OTLP_ENDPOINT"],
        new_home() as home,
        running(home, "--profile", "fake", POLYPHONY_GATEWAY_MAX_CACHED_RESULTS="8", **settings) as fleet,
        alertmanager(folder) as (address, mailbox),
        pushgateway() as canary,
    ):
        targets = {f"polyphony-{name}": row["metrics"] for name, row in fleet.status().items() if row["metrics"]}
        targets["canary"] = canary
        gauges.push(CANARY, canary)
        config = configuration(targets, address, folder, faster=FASTER)
        with prometheus(folder, config) as server, k6(folder, GATEWAY=fleet.address("gateway")):
            yield Observed(fleet, server, mailbox, spans, folder)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus of the last ten minutes of what cannot run here: GPUs, a cluster, certificates."""
    folder = tmp_path_factory.mktemp("recorded")
    now = int(time.time())
    samples = [
        f"{line} {when}" for line in RECORDED.read_text().splitlines() for when in range(now - 600, now + 120, 15)
    ]
    (folder / "series").write_text("\n".join([*samples, "# EOF\n"]))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "series", folder / "data"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with prometheus(folder, {}) as server:
        yield server


def asked() -> list[tuple[Query, str, str]]:
    """Every query of every panel for every job, with the PromQL that Grafana would send."""
    rows = []
    for query in queries():
        jobs = BATCHING if "polyphony_batch_" in query.expr else SERVICES
        for job in jobs if "$job" in query.expr else ("",):
            expr = query.expr.replace("$__rate_interval", "20s").replace("$job", f"polyphony-{job}")
            assert "$" not in expr.replace('"$1"', "")  # of label_replace
            rows.append((query, job, expr))
    return rows


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Print progress even where pytest captures output; a worker of pytest-xdist has no terminal and captures it."""
    began = time.monotonic()
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    write = reporter.write_line if reporter else print
    return lambda text: write(f"{time.monotonic() - began:5.1f} s  {text}")


def test_every_query_of_every_panel_returns_data(observed, recorded, say):
    elsewhere = {line.partition("{")[0] for line in RECORDED.read_text().splitlines()} - {"up"}
    table: dict[tuple[Query, str], tuple[str, list]] = {}

    def missing() -> list[str]:
        for query, job, expr in asked():
            where = "recorded" if metrics(expr) & elsewhere else "live"
            table[query, job] = where, (recorded if where == "recorded" else observed.prometheus).ask(expr)
        return [expr for query, job, expr in asked() if not table[query, job][1]]

    deadline = time.monotonic() + 60
    while left := missing():
        assert time.monotonic() < deadline, left
        time.sleep(1)
    lines = [f"{'board':20} {'panel':32} {'line':38} {'from':8} series  value"]
    for (query, job), (where, series) in table.items():
        for label in query.labels:  # what a legend names is there
            assert all(one["metric"].get(label) for one in series), (query, series)
        value = max(float(one["value"][1]) for one in series)
        board = f"{query.board} {job}"
        lines.append(f"{board:20} {query.panel:32} {query.legend[:38]:38} {where:8} {len(series):6}  {value:.4g}")
    say("\n".join([f"{len(table)} queries", *lines]))


def test_an_exemplar_of_a_latency_panel_is_a_trace_that_was_exported(observed):
    source, traces = yaml.safe_load((ROOT / "dashboards" / "grafana.yml").read_text())["datasources"]
    (destination,) = source["jsonData"]["exemplarTraceIdDestinations"]
    assert destination["datasourceUid"] == traces["uid"]
    label = destination["name"]

    def exported() -> set[str]:
        found = observed.prometheus.get(
            "/query_exemplars",
            query='polyphony_request_duration_seconds_bucket{job="polyphony-gateway"}',
            start=time.time() - 60,
            end=time.time(),
        )
        named = {one["labels"][label] for series in found for one in series["exemplars"]}
        return named & {span.trace_id.hex() for _, span in observed.spans.received}

    assert eventually("an exemplar's trace", exported, 20)


def test_a_fault_drill_fires_the_right_alerts_and_they_resolve(observed, say):
    server, mailbox = observed.prometheus, observed.mailbox
    down, failing = (
        ("PolyphonyProcessDown", "polyphony-vision"),
        ("PolyphonyAvailabilityBurnsFast", "polyphony-gateway"),
    )
    eventually("quiet before the drill", lambda: not server.firing() & {down, failing})
    mailbox.received.clear()
    say("all is quiet; from now on vision is killed whenever it comes back")
    killed: set[int] = set()

    def crash_until_known() -> bool:
        processes = {one.name: one for one in state.read(observed.fleet.home / "run").processes}
        pid = processes["vision"].pid
        if pid and pid not in killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return {(*down, "firing"), (*failing, "firing")} <= set(mailbox.received)

    eventually("both alerts at the receiver", crash_until_known)
    say(f"after {len(killed)} crashes: {', '.join(sorted(f'{name} {job}' for name, job in server.firing()))}")
    assert {job for name, job, _ in mailbox.received if name == "PolyphonyProcessDown"} == {"polyphony-vision"}
    texts = [text for alert in server.get("/alerts")["alerts"] for text in alert["annotations"].values()]
    assert not [text for text in texts if "<error" in text or "<no value>" in text]

    resolved = {(*down, "resolved"), (*failing, "resolved")}
    eventually("both alerts are resolved", lambda: resolved <= set(mailbox.received), 120)
    eventually("neither fires", lambda: not server.firing() & {down, failing})
    say("vision is left alone, and both have resolved")
