"""What the charts set, read by the processes' own settings: a name that they do not know would be lost in silence."""

import pytest

from fleet.settings import FleetSettings
from gateway.settings import GatewaySettings
from servekit import catalogue
from servekit.settings import SHARED_PREFIX
from services.generation.settings import GenerationSettings
from services.retrieval.settings import RetrievalSettings
from services.speech.settings import SpeechSettings
from services.vision.settings import VisionSettings
from tests.charts.conftest import CHASSIS, SERVICES, container, deploy

SETTINGS = {
    "gateway": GatewaySettings,
    "vision": VisionSettings,
    "speech": SpeechSettings,
    "generation": GenerationSettings,
    "retrieval": RetrievalSettings,
}


@pytest.fixture
def read(deployment, monkeypatch):
    def settings(component):
        for name, value in deployment.variables(component).items():
            monkeypatch.setenv(name, value)
        return SETTINGS[component]()

    return settings


@pytest.mark.parametrize("component", CHASSIS)
def test_every_variable_is_a_field(deployment, component):
    fields = SETTINGS[component].model_fields
    for name in deployment.variables(component):
        if name.startswith("POLYPHONY_FLEET_"):  # of the init container
            assert name.removeprefix("POLYPHONY_FLEET_").lower() in FleetSettings.model_fields
        elif name.startswith(SHARED_PREFIX):
            field = name.removeprefix(SHARED_PREFIX).removeprefix(f"{component.upper()}_").lower()
            assert field in fields, name
        else:
            assert name in {"AWS_REGION", "AWS_ENDPOINT", "AWS_ALLOW_HTTP", "HF_ENDPOINT"}


@pytest.mark.parametrize("component", CHASSIS)
def test_the_process_listens_where_the_chart_says(deployment, component, read):
    settings = read(component)
    box = container(deployment.workload(component)["spec"]["template"])
    ports = {port["name"]: port["containerPort"] for port in box["ports"]}
    assert (settings.port, settings.metrics_port) == (ports["grpc"], ports["metrics"])
    service = {port["name"]: port["port"] for port in deployment.one("Service", component)["spec"]["ports"]}
    assert service == {name: port for name, port in ports.items() if name != "health"}
    assert settings.profile in catalogue.names("profiles")


def test_the_gateway_finds_the_services(deployment, read):
    settings = read("gateway")
    for service in SERVICES:
        headless = deployment.one("Service", service)
        assert headless["spec"]["clusterIP"] == "None"
        (port,) = [port["port"] for port in headless["spec"]["ports"] if port["name"] == "grpc"]
        assert getattr(settings, f"{service}_target") == f"dns:///{headless['metadata']['name']}:{port}"


def test_the_gateway_reads_the_keys_that_are_mounted(deployment, read):
    folder = read("gateway").keys_file.parent
    mounts = container(deployment.workload("gateway")["spec"]["template"])["volumeMounts"]
    assert [mount["mountPath"] for mount in mounts if mount["name"] == "keys"] == [str(folder)]


def test_media_lie_where_all_who_use_them_look(deployment):
    stores = {deployment.variables(name).get("POLYPHONY_OBJECT_STORE", "") for name in ("gateway", "vision", "speech")}
    shared = {"name": "objects", "mountPath": "/var/lib/polyphony/data/objects"}
    mounted = [
        shared in container(deployment.workload(name)["spec"]["template"])["volumeMounts"]
        for name in ("gateway", "vision", "speech")
    ]
    assert (stores, mounted) in [({""}, [True] * 3), ({"s3://polyphony/objects"}, [False] * 3)]
    assert len(deployment.of("PersistentVolumeClaim")) == mounted[0]


def test_tls_is_whole(deployments, monkeypatch):
    for component in CHASSIS:
        for name, value in deployments["gpu"].variables(component).items():
            monkeypatch.setenv(name, value)
        settings = SETTINGS[component]()
        assert settings.tls_certificate.parent == settings.tls_key.parent == settings.tls_authority.parent
        template = deployments["gpu"].workload(component)["spec"]["template"]
        ports = {port["name"]: port["containerPort"] for port in container(template)["ports"]}
        assert settings.health_port == ports["health"] == 50060
        (mount,) = [m for m in container(template)["volumeMounts"] if m["name"] == "tls"]
        assert (mount["mountPath"], mount["readOnly"]) == (str(settings.tls_key.parent), True)
        (volume,) = [v["secret"] for v in template["spec"]["volumes"] if v["name"] == "tls"]
        certificate = deployments["gpu"].one("Certificate", component)
        assert volume["secretName"] == certificate["spec"]["secretName"]


def test_s3_brings_its_credentials(deployments):
    for component, uses in {"gateway": True, "vision": True, "generation": True}.items():
        variables = deployments["gpu"].variables(component)
        sources = container(deployments["gpu"].workload(component)["spec"]["template"])["envFrom"]
        assert ({"secretRef": {"name": "polyphony-s3"}} in sources) is uses
        assert variables["AWS_REGION"] == "eu-central-1"
    assert "AWS_REGION" not in deployments["default"].variables("vision")


def test_an_endpoint_without_tls_is_allowed_by_name():
    values = {"global": {"objects": {"url": "s3://a/b"}, "s3": {"endpoint": "http://minio:9000"}}}
    variables = deploy("", values).variables("vision")
    assert (variables["AWS_ENDPOINT"], variables["AWS_ALLOW_HTTP"]) == ("http://minio:9000", "true")


def test_the_database_s_url_comes_from_a_secret(deployments):
    def database(name):
        box = container(deployments[name].workload("retrieval")["spec"]["template"])
        return {row["name"]: row["valueFrom"]["secretKeyRef"] for row in box.get("env", ())}

    variable = "POLYPHONY_RETRIEVAL_DATABASE_URL"
    assert "database_url" in RetrievalSettings.model_fields
    assert database("default") == {}
    assert database("gpu") == {variable: {"name": "polyphony-database", "key": "uri"}}
    cluster = deployments["embedded"].one("Cluster", "postgres")["metadata"]["name"]
    assert database("embedded") == {variable: {"name": f"{cluster}-app", "key": "uri"}}


def test_settings_are_written_as_their_process_reads_them(monkeypatch):
    values = {
        "vision": {"settings": {"max_image_bytes": 67108864, "model_options": {"box": 0.5}, "provider": "cuda"}},
    }
    for name, value in deploy("", values).variables("vision").items():
        monkeypatch.setenv(name, value)
    settings = VisionSettings()
    assert (settings.max_image_bytes, settings.model_options, settings.provider) == (67108864, {"box": 0.5}, "cuda")
