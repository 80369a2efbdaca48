"""API keys: made at the first installation, kept by later ones, or another's. A stand-in answers for the cluster."""

import base64
import hashlib
import json
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import helm_python as helm
import pytest
import yaml

from charts import render
from gateway.auth import Keys
from servekit.errors import Unauthenticated
from tests.charts.conftest import deploy

SECRET = f"{render.RELEASE}-keys"
ROW = {"sha256": hashlib.sha256(b"another").hexdigest(), "owner": "radio", "models": ["whisper-base"], "burst": 5}


def accepted(secret, tmp_path):
    """The keys file as the gateway reads it."""
    file = tmp_path / "keys.toml"
    file.write_text(secret["stringData"]["keys.toml"])
    return Keys.read(file)


@pytest.fixture
def cluster():
    """Says what `lookup` asks an API server for: the secrets of `cluster.secrets`, which are none at first."""
    secrets: dict[str, dict] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            resource = {"name": "secrets", "namespaced": True, "kind": "Secret", "verbs": ["get"]}
            found = {"kind": "APIResourceList", "groupVersion": "v1", "resources": [resource]}
            if self.path != "/api/v1":
                found = secrets.get(self.path.rpartition("/")[2])
            body = json.dumps(found or {"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404})
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *told):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.secrets = secrets
    threading.Thread(target=server.serve_forever).start()
    yield server
    server.shutdown()
    server.server_close()


def install(cluster):
    """The keys that an installation would make in this cluster."""
    address = f"http://127.0.0.1:{cluster.server_port}"
    config = helm.Config(kube_apiserver=address, kubeconfig_content="", namespace=render.NAMESPACE)
    with config, helm.Chart.load(render.UMBRELLA) as chart:
        made = config.render(chart, {}, name=render.RELEASE, namespace=render.NAMESPACE)
    return yaml.safe_load(made["polyphony/templates/keys.yaml"])


def test_a_key_is_made_and_the_gateway_takes_it(deployments, tmp_path):
    secret = deployments["default"].one("Secret", "keys")
    key = secret["stringData"]["key"]
    assert len(key) >= 32
    assert key not in secret["stringData"]["keys.toml"]
    keys = accepted(secret, tmp_path)
    assert keys.authenticate(f"Bearer {key}").tenant == "default"
    with pytest.raises(Unauthenticated):
        keys.authenticate("Bearer another")


def test_every_installation_makes_its_own(deployments):
    keys = {deployments[name].one("Secret", "keys")["stringData"]["key"] for name in ("default", "edge", "dev")}
    assert len(keys) == 3


def test_an_upgrade_keeps_the_key(cluster):
    first = install(cluster)
    data = {name: base64.b64encode(text.encode()).decode() for name, text in first["stringData"].items()}
    cluster.secrets[SECRET] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": data}
    assert install(cluster)["stringData"] == first["stringData"]
    cluster.secrets.clear()
    assert install(cluster)["stringData"] != first["stringData"]


def test_further_keys_stand_beside_it(tmp_path):
    secret = deploy("", {"global": {"apiKeys": {"owner": "studio", "extraKeys": [ROW]}}}).one("Secret", "keys")
    assert tomllib.loads(secret["stringData"]["keys.toml"])["keys"][1] == ROW
    keys = accepted(secret, tmp_path)
    assert keys.authenticate("Bearer another").tenant == "radio"
    assert keys.authenticate(f"Bearer {secret['stringData']['key']}").tenant == "studio"


def test_keys_may_be_somebody_else_s(deployments):
    deployment = deployments["gpu"]
    assert not deployment.of("Secret")
    (keys,) = [v for v in deployment.workload("gateway")["spec"]["template"]["spec"]["volumes"] if v["name"] == "keys"]
    assert keys["secret"]["secretName"] == "polyphony-api-keys"
    assert keys["secret"]["items"] == [{"key": "keys.toml", "path": "keys.toml"}]  # not the key itself
    for _, template in deployment.templates():
        if template["metadata"]["labels"]["app.kubernetes.io/component"] in ("canary", "test"):
            (variable,) = [row for row in template["spec"]["containers"][0]["env"] if "valueFrom" in row]
            assert variable["valueFrom"]["secretKeyRef"] == {"name": "polyphony-api-keys", "key": "key"}
