"""The ports that files state which cannot read the table of ports."""

import re
from pathlib import Path

import pytest
import yaml

from servekit.ops.ports import PORTS

ROOT = Path(__file__).parents[2]
SERVICES = sorted(set(PORTS) - {"gateway"})


def test_no_two_processes_have_a_port_in_common():
    ports = [port for row in PORTS.values() for port in (row.grpc, row.metrics, row.health, row.http) if port]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("process", PORTS)
def test_an_image_exposes_the_ports_of_its_process(process):
    stage = (
        (ROOT / "Dockerfile")
        .read_text()
        .partition(f"COPY {process if process == 'gateway' else 'services/' + process} ")[2]
    )
    exposed = re.search(r"^EXPOSE (.*)$", stage, re.MULTILINE)
    row = PORTS[process]
    assert exposed is not None
    assert [int(port) for port in exposed[1].split()] == [port for port in (row.http, row.grpc, row.metrics) if port]


@pytest.mark.parametrize("process", PORTS)
def test_the_chart_has_the_ports_of_its_process(process):
    values = yaml.safe_load((ROOT / "charts" / "polyphony" / "values.yaml").read_text())
    row = PORTS[process]
    http = {"http": row.http} if row.http else {}
    assert values[process]["ports"] == {**http, "grpc": row.grpc, "metrics": row.metrics}


@pytest.mark.parametrize("file", ["compose.yaml", "charts/polyphony/values.yaml"])
def test_the_gateway_is_pointed_at_the_services(file):
    targets = dict(
        re.findall(r"_target: dns:///.*?(\w+):(\d+)$", (ROOT / file).read_text(), re.MULTILINE | re.IGNORECASE)
    )
    assert targets == {service: str(PORTS[service].grpc) for service in SERVICES}


def test_compose_has_the_ports_of_its_processes():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert {name: services[name]["environment"]["POLYPHONY_PORT"] for name in PORTS} == {
        name: row.grpc for name, row in PORTS.items()
    }


def test_prometheus_scrapes_the_metrics_ports():
    config = (ROOT / "dashboards" / "prometheus.yml").read_text()
    assert re.findall(r"127\.0\.0\.1:(91[5-9]\d)", config) == [str(row.metrics) for row in PORTS.values()]


def test_the_readme_lists_the_ports():
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert rows == [(name, str(row.grpc), str(row.metrics)) for name, row in PORTS.items()]
