"""What asks the gateway: the canary on its schedule, and `helm test`."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer

from charts import render
from fleet.cli.main import app
from tests.charts.conftest import SERVICES, container, deploy

URL = f"http://{render.RELEASE}-gateway-http:8080"


def parse(arguments):
    """What `polyphony` makes of these words; it raises what the user would be told."""
    command, rest = typer.main.get_command(app), list(arguments)
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    return command.make_context("polyphony", rest).params


def test_the_canary_asks_and_tells(deployments):
    spec = deployments["gpu"].one("CronJob", "canary")["spec"]
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    box = pod["containers"][0]
    given = parse(box["args"])
    assert (given["gateway"], given["push"]) == (URL, "http://prometheus-pushgateway.monitoring:9091")
    assert (spec["concurrencyPolicy"], pod["restartPolicy"]) == ("Forbid", "Never")
    assert "POLYPHONY_FLEET_API_KEY" in {row["name"] for row in box["env"]}
    assert not deployments["default"].of("CronJob")


def test_the_test_asks_one_question(deployments):
    pod = deployments["dev"].one("Pod", "test")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert parse(container(pod)["args"])["text"]
    assert {"name": "POLYPHONY_FLEET_GATEWAY_URL", "value": URL} in container(pod)["env"]


ALL = dict.fromkeys(SERVICES, "serving")
ASLEEP = {**ALL, "generation": "not_serving"}
TO_ZERO = {
    "global": {"monitoring": {"enabled": True}},
    "generation": {"autoscaling": {"type": "keda", "minReplicas": 0}},
}


@pytest.mark.parametrize(
    ("values", "services", "code"),
    [
        ({}, ALL, 0),
        ({}, ASLEEP, 1),
        ({}, {"vision": "serving"}, 1),
        (TO_ZERO, ASLEEP, 0),
        (TO_ZERO, {**ASLEEP, "vision": "not_serving"}, 1),
        ({"generation": {"enabled": False}}, ASLEEP, 0),
    ],
)
def test_the_test_wants_every_service_that_is_never_without_a_pod(values, services, code):
    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()
            status = "ready" if services == ALL else "degraded"
            self.wfile.write(json.dumps({"status": status, "services": services}).encode())

        def log_message(self, *told):
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever).start()
    spec = deploy("", values).one("Pod", "test")["spec"]
    (ready,) = [box for box in [*spec.get("initContainers", ()), *spec["containers"]] if box["name"] == "ready"]
    assert ready["command"] == ["python", "-c"]
    script = ready["args"][0].replace(URL, f"http://127.0.0.1:{server.server_port}")
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=30)
    server.shutdown()
    server.server_close()
    assert (done.returncode, str(services) in done.stdout) == (code, True), done.stderr
    assert (spec["containers"][0]["name"] == "ask") is not bool(values)  # nobody asks a generation that sleeps
