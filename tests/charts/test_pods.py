"""How pods are started: as whom, with what, when they count as ready, and how long they may take to end."""

import pytest

from charts import render
from tests.charts.conftest import CHASSIS, SERVICES, container, deploy

USER = 10001
LONGEST_ROUTE_SECONDS = 600
PRE_STOP_SECONDS = 5


def test_pods_are_restricted(deployment):
    for name, template in deployment.templates():
        spec = template["spec"]
        assert not spec["automountServiceAccountToken"], name
        assert not spec["enableServiceLinks"], name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["runAsUser"] == USER, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys(), name
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume], name
        for box in [*spec["containers"], *spec.get("initContainers", ())]:
            assert box["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_every_container_says_what_it_needs(deployment):
    for name, template in deployment.templates():
        for box in [*template["spec"]["containers"], *template["spec"].get("initContainers", ())]:
            for bound in ("requests", "limits"):
                assert {"cpu", "memory"} <= box["resources"][bound].keys(), (name, box["name"], bound)


def test_a_container_s_last_words_are_kept(deployment):
    for name, template in deployment.templates():
        for box in [*template["spec"]["containers"], *template["spec"].get("initContainers", ())]:
            assert box["terminationMessagePolicy"] == "FallbackToLogsOnError", (name, box["name"])


def test_volumes_are_those_that_are_mounted(deployment):
    for name, template in deployment.templates():
        spec = template["spec"]
        boxes = [*spec["containers"], *spec.get("initContainers", ())]
        mounted = {mount["name"] for box in boxes for mount in box["volumeMounts"]}
        claims = {"weights"} if name.startswith("StatefulSet/") else set()
        assert mounted == {volume["name"] for volume in spec["volumes"]} | claims, name
        assert "/tmp" in {mount["mountPath"] for mount in container(template)["volumeMounts"]}, name


def test_claims_and_settings_and_accounts_exist(deployment):
    present = {(m["kind"], m["metadata"]["name"]) for m in deployment.manifests}
    for name, template in deployment.templates():
        spec = template["spec"]
        if "serviceAccountName" in spec:
            assert ("ServiceAccount", spec["serviceAccountName"]) in present, name
        for source in container(template).get("envFrom", ()):
            if "configMapRef" in source:
                assert ("ConfigMap", source["configMapRef"]["name"]) in present, name
        claims = {v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v}
        for claim in claims - {"triton-models"}:  # which its operator fills
            assert ("PersistentVolumeClaim", claim) in present, name
        if "priorityClassName" in spec:
            assert ("PriorityClass", spec["priorityClassName"]) in present, name


def test_selectors_match_their_pods_alone(deployment):
    pods = {name: template["metadata"]["labels"] for name, template in deployment.templates()}
    for manifest in deployment.of("Deployment", "StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = manifest["spec"]
        chosen = spec["selector"] if "selector" in spec else spec["podSelector"]
        labels = chosen.get("matchLabels", chosen)
        component = labels.get("app.kubernetes.io/component")
        if component is None:
            continue  # the policies of all pods, and those of Postgres
        matched = [name for name, found in pods.items() if labels.items() <= found.items()]
        assert matched == [f"{deployment.workload(component)['kind']}/{render.RELEASE}-{component}"]


@pytest.mark.parametrize("component", CHASSIS)
def test_probes_ask_by_grpc(deployment, component):
    box = container(deployment.workload(component)["spec"]["template"])
    ports = {port["name"]: port["containerPort"] for port in box["ports"]}
    asked = ports.get("health", ports["grpc"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert box[probe]["grpc"] == {"port": asked}
    warm = box["startupProbe"]["failureThreshold"] * box["startupProbe"]["periodSeconds"]
    assert warm >= LONGEST_ROUTE_SECONDS
    patience = box["livenessProbe"]["failureThreshold"] * box["livenessProbe"]["periodSeconds"]
    assert patience == (600 if component == "retrieval" else 60)


def test_engines_are_probed_as_they_can_be(deployments):
    box = container(deployments["engines"].workload("vllm")["spec"]["template"])
    assert box["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    box = container(deployments["engines"].workload("triton")["spec"]["template"])
    assert box["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "rest"}
    assert box["livenessProbe"]["httpGet"] == {"path": "/v2/health/live", "port": "rest"}


@pytest.mark.parametrize("name", ["default", "embedded", "gpu", "engines", "edge"])
def test_the_grace_outlasts_the_longest_call(deployments, name):
    for component in CHASSIS:
        template = deployments[name].workload(component)["spec"]["template"]
        drain = float(deployments[name].variables(component)["POLYPHONY_DRAIN_TIMEOUT_SECONDS"])
        assert container(template)["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(PRE_STOP_SECONDS)]
        assert LONGEST_ROUTE_SECONDS < drain < template["spec"]["terminationGracePeriodSeconds"] - PRE_STOP_SECONDS


def test_weights_are_pulled_before_a_service_starts(deployment):
    for service in SERVICES:
        spec = deployment.workload(service)["spec"]["template"]["spec"]
        (pull,) = spec["initContainers"]
        assert pull["args"] == ["models", "pull", "--service", service]
        assert pull["image"].split(":")[0].endswith("polyphony-tools")
        where = [m for box in (pull, *spec["containers"]) for m in box["volumeMounts"] if m["name"] == "weights"]
        assert where == [{"name": "weights", "mountPath": "/var/lib/polyphony/models"}] * 2


def test_pods_spread_over_zones_and_nodes(deployment):
    for manifest in deployment.of("Deployment", "StatefulSet"):
        spread = manifest["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert [row["topologyKey"] for row in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert all(row["labelSelector"] == manifest["spec"]["selector"] for row in spread)


def test_settings_that_change_start_pods_anew():
    plain, changed = (
        deploy("", {"vision": {"settings": settings}}).workload("vision")["spec"]["template"]["metadata"]["annotations"]
        for settings in ({}, {"threads": 3})
    )
    assert plain["checksum/settings"] != changed["checksum/settings"]


def test_a_gpu_brings_its_image_and_toleration(deployments):
    for service in ("vision", "speech", "retrieval"):
        template = deployments["gpu"].workload(service)["spec"]["template"]
        box = container(template)
        assert box["image"] == f"registry.example.com/polyphony/polyphony-{service}:0.1.0-gpu"
        assert box["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert template["spec"]["tolerations"] == [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        ]


@pytest.mark.parametrize(
    ("name", "resource"), [("mig", "nvidia.com/mig-1g.10gb"), ("time-sliced", "nvidia.com/gpu.shared")]
)
def test_a_slice_of_a_gpu_is_asked_for_by_its_name(deployments, name, resource):
    for service in ("vision", "speech", "retrieval"):
        box = container(deployments[name].workload(service)["spec"]["template"])
        asked = {limit: count for limit, count in box["resources"]["limits"].items() if limit.startswith("nvidia.com")}
        assert asked == {resource: 1}
        assert box["image"].endswith("-gpu")


def test_where_triton_has_the_gpu_vision_has_none(deployments):
    box = container(deployments["engines"].workload("vision")["spec"]["template"])
    assert "nvidia.com/gpu" not in box["resources"]["limits"]
    assert deployments["engines"].variables("vision")["POLYPHONY_VISION_PROVIDER"] == "cpu"


def test_a_stateful_set_keeps_weights_on_a_claim(deployments):
    speech = deployments["gpu"].one("StatefulSet", "speech")
    assert speech["spec"]["serviceName"] == deployments["gpu"].one("Service", "speech")["metadata"]["name"]
    (claim,) = speech["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "weights"
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert speech["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Delete"


def test_weights_may_lie_on_a_shared_claim():
    values = {"vision": {"kind": "StatefulSet", "weights": {"existingClaim": "models"}}}
    vision = deploy("", values).one("StatefulSet", "vision")
    assert "volumeClaimTemplates" not in vision["spec"]
    volumes = vision["spec"]["template"]["spec"]["volumes"]
    assert {"name": "weights", "persistentVolumeClaim": {"claimName": "models"}} in volumes


def test_synced_code_lies_on_a_volume_that_holds_the_image_s():
    spec = deploy("", {"vision": {"sync": True}}).workload("vision")["spec"]["template"]["spec"]
    copy = spec["initContainers"][0]
    assert copy["image"] == spec["containers"][0]["image"]
    assert copy["command"][-2:] == ["/srv/polyphony/.", copy["volumeMounts"][0]["mountPath"]]
    assert {"name": "source", "mountPath": "/srv/polyphony"} in spec["containers"][0]["volumeMounts"]
