"""What asks the gateway: the canary on its schedule, and `helm test`."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import typer

from charts import render
from fleet.cli import app
from tests.charts.conftest import container

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
    assert {"name": "POLYPHONY_FLEET_URL", "value": URL} in container(pod)["env"]


@pytest.mark.parametrize(("status", "code"), [("ready", 0), ("degraded", 1)])
def test_the_test_waits_for_every_service(deployments, status, code):
    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"status": status, "services": {}}).encode())

        def log_message(self, *told):
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever).start()
    (ready,) = deployments["dev"].one("Pod", "test")["spec"]["initContainers"]
    assert ready["command"] == ["python", "-c"]
    script = ready["args"][0].replace(URL, f"http://127.0.0.1:{server.server_port}")
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=30)
    server.shutdown()
    server.server_close()
    assert (done.returncode, status in done.stdout) == (code, True), done.stderr
