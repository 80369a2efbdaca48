"""Prometheus, its alertmanager and k6 as processes of a test."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.operations.queries import ROOT, RULES
from tests.pushgateway import PUSHGATEWAY

# Debian's names, and their own.
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
MISSING = [
    package
    for package, program in {
        "prometheus": shutil.which("prometheus") and shutil.which("promtool"),
        "prometheus-alertmanager": ALERTMANAGER,
        "prometheus-pushgateway": PUSHGATEWAY,
    }.items()
    if not program
]
_RANGE = re.compile(r"(?<=\[)(\d+)([mhd])(?=\])|(?<=offset )(\d+)([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@contextmanager
def running(command: list[Any], log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the context lasts."""
    with log.open("wb") as out, subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, **more) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def eventually(what: str, found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true thing that `found` says."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)
    return result


def listening(log: Path) -> str:
    """Where a program listens, as its log says; empty as long as it does not. The port is of its own choice."""
    found = re.search(r'"Listening on" address=(\S+)', log.read_text())
    return found[1] if found else ""


class Prometheus:
    """One that runs, by its interface."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v1", timeout=20)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """The data of an answer."""
        answer = self._http.get(path, params=query).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def ask(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression now, those that are no number left out."""
        series = self.get("/query", query=expr)["result"]
        return [one for one in series if one["value"][1] not in ("NaN", "+Inf", "-Inf")]

    def firing(self) -> set[tuple[str, str]]:
        """Each alert that fires, with its job."""
        alerts = self.get("/alerts")["alerts"]
        return {(a["labels"]["alertname"], a["labels"].get("job", "")) for a in alerts if a["state"] == "firing"}


@contextmanager
def prometheus(folder: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A Prometheus of a configuration; its data lie in `folder/data`."""
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    log = folder / "prometheus.log"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--enable-feature=exemplar-storage",
    ]
    with running(command, log):
        address = eventually("prometheus listens", lambda: listening(log))
        eventually("prometheus is ready", lambda: answers(f"http://{address}/-/ready"))
        server = Prometheus(f"http://{address}")
        yield server
        server.close()


def answers(url: str) -> bool:
    """Whether something answers there."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


class Mailbox(ThreadingHTTPServer):
    """What an alertmanager sends its messages to.

    Attributes:
        received: Each alert's name, job and status, `firing` or `resolved`.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Letters)
        self.received: list[tuple[str, str, str]] = []


class _Letters(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        for alert in body["alerts"]:
            labels = alert["labels"]
            self.server.received.append((labels["alertname"], labels.get("job", ""), alert["status"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def alertmanager(folder: Path) -> Iterator[tuple[str, Mailbox]]:
    """An alertmanager's address, and the mailbox it sends to."""
    with Mailbox() as mailbox:
        threading.Thread(target=mailbox.serve_forever, daemon=True).start()
        hook = {"url": f"http://127.0.0.1:{mailbox.server_port}", "send_resolved": True}
        soon = {"group_by": ["..."], "group_wait": "0s", "group_interval": "1s", "receiver": "mailbox"}
        config = {"route": soon, "receivers": [{"name": "mailbox", "webhook_configs": [hook]}]}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
        log = folder / "alertmanager.log"
        command = [
            ALERTMANAGER,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            "--web.listen-address=127.0.0.1:0",
            "--cluster.listen-address=",
        ]
        with running(command, log):
            address = eventually("alertmanager listens", lambda: listening(log))
            eventually("alertmanager is ready", lambda: answers(f"http://{address}/-/ready"))
            yield address, mailbox
        mailbox.shutdown()


@contextmanager
def k6(folder: Path, **variables: str) -> Iterator[None]:
    """The load of `load.js`, in the background; at its end, every answer was one of those that were due."""
    script, summary = Path(__file__).with_name("load.js"), folder / "k6.json"
    program = Path(sys.executable).with_name("k6")
    command = [program, "run", "--no-usage-report", "--quiet", f"--summary-export={summary}", script]
    with running(command, folder / "k6.log", env=os.environ | {"MEDIA": str(folder), **variables}):
        yield
    checks = json.loads(summary.read_text())["root_group"]["checks"]
    assert {name for name, check in checks.items() if check["fails"]} == set()
    assert min(check["passes"] for check in checks.values()) > 0


def configuration(targets: Mapping[str, str], alertmanager: str, folder: Path, *, faster: int) -> dict[str, Any]:
    """The repository's own `dashboards/prometheus.yml`, pointed elsewhere and run at a quicker pace."""
    config = yaml.safe_load((ROOT / "dashboards" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    config["scrape_configs"] = [row for row in config["scrape_configs"] if row["job_name"] in targets]
    for row in config["scrape_configs"]:
        row["static_configs"][0]["targets"] = [targets[row["job_name"]]]
    config["rule_files"] = [str(folder / path.name) for path in RULES]
    for path in RULES:
        (folder / path.name).write_text(yaml.safe_dump(hurried(yaml.safe_load(path.read_text()), faster)))
    return config


def hurried(rules: dict[str, Any], faster: int) -> dict[str, Any]:
    """The same rules in a world in which everything lasts so many times less."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = _RANGE.sub(lambda found: _shorter(found, faster), rule["expr"])
            if "for" in rule:
                rule["for"] = f"{int(rule['for'][:-1]) * _SECONDS[rule['for'][-1]] * 1000 // faster}ms"
    return rules


def _shorter(found: re.Match[str], faster: int) -> str:
    number, unit = (part for part in found.groups() if part)
    return f"{int(number) * _SECONDS[unit] * 1000 // faster}ms"
