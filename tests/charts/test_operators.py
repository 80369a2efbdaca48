"""Objects that operators read: Prometheus, Grafana, cert-manager, CloudNativePG, and the ingress."""

import json

import pytest
import yaml

from charts import render
from gateway.records.postgres_schema import SCHEMA as GATEWAY_SCHEMA
from services.speech.records.postgres import SCHEMA as SPEECH_SCHEMA
from tests.charts.conftest import CHASSIS, deploy, namespace

GATEWAY = f"{render.RELEASE}-gateway-http"
ROLES = (GATEWAY_SCHEMA.role, SPEECH_SCHEMA.role)


def test_prometheus_scrapes_every_pod_once(deployments):
    deployment = deployments["engines"]
    for monitor in deployment.of("ServiceMonitor"):
        spec = monitor["spec"]
        (endpoint,) = spec["endpoints"]
        pending, job = endpoint["relabelings"]
        assert pending["sourceLabels"] == ["__meta_kubernetes_pod_phase"]
        assert (pending["action"], pending["regex"]) == ("drop", "Pending|Succeeded|Failed")
        assert "jobLabel" not in spec
        component = spec["selector"]["matchLabels"]["app.kubernetes.io/component"]
        assert (job["targetLabel"], job["replacement"]) == ("job", f"polyphony-{component}")
        chosen = spec["selector"]["matchLabels"].items()
        services = [s for s in deployment.of("Service") if chosen <= s["metadata"]["labels"].items()]
        ports = [port for s in services for port in s["spec"]["ports"] if port["name"] == endpoint["port"]]
        assert len(ports) == 1, monitor["metadata"]["name"]
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert len(deployment.of("ServiceMonitor")) == len(CHASSIS) + 2


def test_rules_and_dashboards_are_those_of_the_folders(deployments):
    deployment = deployments["embedded"]
    rules = {path.stem: yaml.safe_load(path.read_text()) for path in (render.UMBRELLA / "rules").glob("*.yaml")}
    made = {m["metadata"]["name"]: m["spec"] for m in deployment.of("PrometheusRule")}
    assert rules
    assert made == {f"{render.RELEASE}-{name}": spec for name, spec in rules.items()}
    boards = {path.name: json.loads(path.read_text()) for path in (render.UMBRELLA / "dashboards").glob("*.json")}
    found = [m for m in deployment.of("ConfigMap") if m["metadata"]["labels"].get("grafana_dashboard") == "1"]
    assert boards
    assert {name: json.loads(text) for m in found for name, text in m["data"].items()} == boards


def test_alerts_link_to_where_the_runbook_can_be_read():
    monitoring = {"enabled": True, "runbookUrl": "https://git.example.com/docs"}
    made = deploy("runbooks", {"global": {"monitoring": monitoring}}).of("PrometheusRule")
    alerts = [rule for rules in made for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert alerts
    for alert in alerts:
        anchor = alert["alert"].lower()
        assert alert["annotations"]["runbook_url"] == f"https://git.example.com/docs/how-to/runbook.md#{anchor}"


def test_without_monitoring_nothing_of_it_is_made(deployments):
    made = deployments["default"].of("ServiceMonitor", "PrometheusRule", "ScaledObject", "HorizontalPodAutoscaler")
    assert not made
    assert not [m for m in deployments["default"].of("ConfigMap") if "monitoring" in m["metadata"]["labels"].values()]


def test_every_process_has_a_certificate_for_its_name(deployments):
    certificates = {m["metadata"]["name"]: m["spec"] for m in deployments["gpu"].of("Certificate")}
    for component in CHASSIS:
        name = f"{render.RELEASE}-{component}"
        spec = certificates[name]
        assert {name, f"{name}.{render.NAMESPACE}.svc.cluster.local"} <= set(spec["dnsNames"])
        assert {"server auth", "client auth"} <= set(spec["usages"])  # each side shows one
        assert spec["issuerRef"]["name"] == f"{render.RELEASE}-ca"
    assert certificates[f"{render.RELEASE}-ca"]["isCA"]
    issuers = {m["metadata"]["name"]: m["spec"] for m in deployments["gpu"].of("Issuer")}
    authority = certificates[f"{render.RELEASE}-ca"]
    assert issuers[authority["issuerRef"]["name"]] == {"selfSigned": {}}
    assert issuers[f"{render.RELEASE}-ca"] == {"ca": {"secretName": authority["secretName"]}}


def test_an_issuer_may_be_named():
    tls = {"enabled": True, "issuer": {"name": "company"}}
    deployment = deploy("", {"global": {"tls": tls}})
    assert not deployment.of("Issuer")
    issuers = [certificate["spec"]["issuerRef"] for certificate in deployment.of("Certificate")]
    assert issuers == [{"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "company"}] * len(CHASSIS)


def test_the_trial_s_postgres_has_vectors_and_the_roles(deployments):
    spec = deployments["embedded"].one("Cluster", "postgres")["spec"]
    assert spec["bootstrap"]["initdb"]["postInitApplicationSQL"] == [
        "CREATE EXTENSION IF NOT EXISTS vector",
        *(f"CREATE ROLE {role} NOLOGIN" for role in ROLES),
        f"GRANT {', '.join(ROLES)} TO {spec['bootstrap']['initdb']['owner']}",
    ]
    assert {"cpu", "memory"} <= spec["resources"]["limits"].keys()
    assert not deployments["gpu"].of("Cluster")


def test_an_ingress_lets_long_and_large_requests_through(deployments):
    (ingress,) = deployments["gpu"].of("Ingress")
    spec = ingress["spec"]
    assert spec["tls"] == [{"hosts": ["polyphony.example.com"], "secretName": "polyphony-example-com"}]
    backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    service = deployments["gpu"].one("Service", "gateway-http")
    assert backend == {"name": GATEWAY, "port": {"name": service["spec"]["ports"][0]["name"]}}
    annotations = ingress["metadata"]["annotations"]
    assert int(annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"]) > 600
    assert annotations["cert-manager.io/cluster-issuer"] == "letsencrypt"


@pytest.mark.parametrize("made", [True, False])
def test_a_route_hangs_on_a_gateway(made):
    named = {"name": "public", "namespace": "entrance"}
    entrance = {
        "type": "httproute",
        "from": [namespace("entrance")],
        **({"className": "envoy"} if made else {"gateway": named}),
    }
    deployment = deploy("", {"ingress": entrance})
    (route,) = deployment.of("HTTPRoute")
    (rule,) = route["spec"]["rules"]
    assert rule["backendRefs"] == [{"name": GATEWAY, "port": 8080}]
    assert rule["timeouts"] == {"request": "610s"}
    assert route["spec"]["parentRefs"] == [{"name": render.RELEASE} if made else named]
    listeners = [listener for gateway in deployment.of("Gateway") for listener in gateway["spec"]["listeners"]]
    tls = {"mode": "Terminate", "certificateRefs": [{"kind": "Secret", "name": "polyphony-example-com"}]}
    assert [listener["tls"] for listener in listeners] == [tls] * made


def test_the_canary_has_a_lower_priority_than_the_gateway(deployments):
    classes = {m["metadata"]["name"]: m for m in deployments["gpu"].of("PriorityClass")}
    used = {name: template["spec"]["priorityClassName"] for name, template in deployments["gpu"].templates()}
    canary = classes[used[f"CronJob/{render.RELEASE}-canary"]]
    gateway = classes[used[f"Deployment/{render.RELEASE}-gateway"]]
    assert canary["value"] < gateway["value"]
    assert {canary["preemptionPolicy"], gateway["preemptionPolicy"]} == {"Never"}  # others' pods are not ended for ours
    assert not deploy("", {"global": {"priorityClasses": False}}).of("PriorityClass")


def test_uploads_outlive_the_release(deployments):
    claim = deployments["default"].one("PersistentVolumeClaim", "objects")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert deployments["edge"].one("PersistentVolumeClaim", "objects")["spec"]["accessModes"] == ["ReadWriteOnce"]
