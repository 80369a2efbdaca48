"""The settings of the charts, read by the processes' own settings classes, which would ignore an unknown name."""

import json

import pytest

from charts import render
from fleet.settings import FleetSettings
from gateway.settings import GatewaySettings
from servekit.models import catalogue
from servekit.ops.settings import SHARED_PREFIX
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


def test_the_gateway_vision_and_speech_share_an_object_store(deployment):
    stores = {deployment.variables(name).get("POLYPHONY_OBJECT_STORE", "") for name in ("gateway", "vision", "speech")}
    shared = {"name": "objects", "mountPath": "/var/lib/polyphony/data/objects"}
    mounted = [
        shared in container(deployment.workload(name)["spec"]["template"])["volumeMounts"]
        for name in ("gateway", "vision", "speech")
    ]
    assert (stores, mounted) in [({""}, [True] * 3), ({"s3://polyphony/objects"}, [False] * 3)]
    assert len(deployment.of("PersistentVolumeClaim")) == mounted[0]


def test_tls_files_are_mounted_together(deployments, monkeypatch):
    for component in CHASSIS:
        for name, value in deployments["gpu"].variables(component).items():
            monkeypatch.setenv(name, value)
        settings = SETTINGS[component]()
        assert settings.tls_certificate_file.parent == settings.tls_key_file.parent == settings.tls_ca_file.parent
        template = deployments["gpu"].workload(component)["spec"]["template"]
        ports = {port["name"]: port["containerPort"] for port in container(template)["ports"]}
        assert settings.health_port == ports["health"] == 50060
        (mount,) = [m for m in container(template)["volumeMounts"] if m["name"] == "tls"]
        assert (mount["mountPath"], mount["readOnly"]) == (str(settings.tls_key_file.parent), True)
        (volume,) = [v["secret"] for v in template["spec"]["volumes"] if v["name"] == "tls"]
        certificate = deployments["gpu"].one("Certificate", component)
        assert volume["secretName"] == certificate["spec"]["secretName"]


def secrets(box):
    """The secrets that a container is given, by where they come from."""
    whole = {row["secretRef"]["name"] for row in box["envFrom"] if "secretRef" in row}
    return whole | {row["valueFrom"]["secretKeyRef"]["name"] for row in box.get("env", ())}


def test_secrets_go_to_the_container_that_needs_them_alone():
    weights = {"mirrorUrl": "s3://a/b", "secret": "reader", "hubTokenSecret": "hub"}
    deployment = deploy("", render.merged(render.values("engines"), {"global": {"weights": weights}}))
    expected = {
        "gateway": {"polyphony-s3", "polyphony-database"},
        "vision": {"polyphony-s3"},
        "speech": {"polyphony-s3", "polyphony-database"},
        "generation": set(),
        "retrieval": {"polyphony-database"},
        "vllm": set(),
        "triton": set(),
    }
    for component, given in expected.items():
        spec = deployment.workload(component)["spec"]["template"]["spec"]
        assert secrets(spec["containers"][0]) == given, component
        assert [secrets(pull) for pull in spec.get("initContainers", ())] == [{"reader", "hub"}] * (
            component in SERVICES
        )


def test_the_secret_of_s3_reads_the_mirror_where_none_is_named(deployments):
    template = deployments["gpu"].workload("generation")["spec"]["template"]
    assert secrets(template["spec"]["initContainers"][0]) == {"polyphony-s3"}
    assert not secrets(container(template))
    named = deploy("", {"global": {"weights": {"secret": "reader"}, "s3": {"region": "eu-west-1"}}})
    assert named.variables("generation")["AWS_REGION"] == "eu-west-1"
    for component in CHASSIS:
        assert deployments["gpu"].variables(component)["AWS_REGION"] == "eu-central-1"
        assert "AWS_REGION" not in deployments["default"].variables(component)


def test_a_catalogue_of_one_s_own_is_laid_over_the_packaged_one(tmp_path, monkeypatch):
    values = {"global": {"profile": "mine", "catalogue": {"models": "my-models", "profiles": "my-profiles"}}}
    deployment = deploy("", values)
    for component in CHASSIS:
        spec = deployment.workload(component)["spec"]["template"]["spec"]
        folder = deployment.variables(component)["POLYPHONY_CATALOGUE"]
        volumes = {v["name"]: v["configMap"]["name"] for v in spec["volumes"] if "configMap" in v}
        assert set(volumes.values()) == {"my-models", "my-profiles"}
        for box in [*spec["containers"], *spec.get("initContainers", ())]:
            mounted = {m["mountPath"]: volumes[m["name"]] for m in box["volumeMounts"] if m["name"] in volumes}
            assert mounted == {f"{folder}/models": "my-models", f"{folder}/profiles": "my-profiles"}
    # The kubelet keeps a ConfigMap's files behind links to a folder with a date for a name.
    (tmp_path / "profiles" / "..2026").mkdir(parents=True)
    (tmp_path / "profiles" / "..2026" / "mine.toml").write_text('title = "Mine"\n[services]\n')
    (tmp_path / "profiles" / "..data").symlink_to("..2026")
    (tmp_path / "profiles" / "mine.toml").symlink_to("..data/mine.toml")
    monkeypatch.setenv("POLYPHONY_CATALOGUE", str(tmp_path))
    extra = GatewaySettings().catalogue
    assert catalogue.names("profiles", extra) == sorted([*catalogue.names("profiles"), "mine"])
    assert catalogue.profile("mine", extra).title == "Mine"


def test_profiles_that_may_be_named_are_those_there_are():
    schema = json.loads((render.UMBRELLA / "values.schema.json").read_text())
    assert schema["properties"]["global"]["then"]["properties"]["profile"]["enum"] == catalogue.names("profiles")


def test_an_endpoint_without_tls_is_allowed_by_name():
    values = {"global": {"objects": {"url": "s3://a/b"}, "s3": {"endpoint": "http://minio:9000"}}}
    variables = deploy("", values).variables("vision")
    assert (variables["AWS_ENDPOINT"], variables["AWS_ALLOW_HTTP"]) == ("http://minio:9000", "true")


@pytest.mark.parametrize("settings", [GatewaySettings, SpeechSettings, RetrievalSettings])
def test_the_database_s_url_comes_from_a_secret(deployments, settings):
    def database(name):
        box = container(deployments[name].workload(settings.process)["spec"]["template"])
        rows = {row["name"]: row["valueFrom"]["secretKeyRef"] for row in box.get("env", ())}
        return {key: rows[key] for key in rows if key == variable}

    variable = f"POLYPHONY_{settings.process.upper()}_DATABASE_URL"
    assert "database_url" in settings.model_fields
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
