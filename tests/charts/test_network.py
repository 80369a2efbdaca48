"""Nothing goes in or out but what the architecture draws. The policies are read as a cluster would."""

import re

import pytest

from charts import render
from tests.charts.conftest import INSTANCE, deploy, namespace

PODS = ("gateway", "vision", "speech", "generation", "retrieval", "vllm", "triton", "canary", "test")
STAR = {("gateway", service) for service in ("vision", "speech", "generation", "retrieval")}
ASKERS = {("canary", "gateway"), ("test", "gateway")}


def chooses(selector, component):
    labels = {
        **INSTANCE,
        "app.kubernetes.io/name": "polyphony",
        "app.kubernetes.io/component": component,
    }
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(row["key"]) in row["values"] for row in selector.get("matchExpressions", ())
    )


def arrows(deployment):
    """Which pods of the release can reach which: allowed by the policies of both ends."""
    policies = [policy["spec"] for policy in deployment.of("NetworkPolicy")]

    def may(component, direction, side, other):
        rules = [rule for p in policies if chooses(p["podSelector"], component) for rule in p.get(direction, ())]
        return any("podSelector" in peer and chooses(peer["podSelector"], other) for r in rules for peer in r[side])

    return {
        (caller, called)
        for caller in PODS
        for called in PODS
        if may(caller, "egress", "to", called) and may(called, "ingress", "from", caller)
    }


def ways_out(deployment, component):
    """The ports of every egress rule that leads out of the release."""
    spec = deployment.one("NetworkPolicy", component)["spec"]
    rules = [rule for rule in spec["egress"] if not any("podSelector" in peer for peer in rule["to"])]
    return sorted(port["port"] for rule in rules for port in rule["ports"] if port["protocol"] == "TCP")


def test_everything_is_denied_first(deployment):
    spec = deployment.one("NetworkPolicy", "default-deny")["spec"]
    assert spec == {"podSelector": {"matchLabels": INSTANCE}, "policyTypes": ["Ingress", "Egress"]}
    for _, template in deployment.templates():
        assert INSTANCE.items() <= template["metadata"]["labels"].items()


def test_the_calls_are_a_star(deployment):
    engines = {("generation", "vllm"), ("vision", "triton")} if deployment.name == "engines" else set()
    assert arrows(deployment) == STAR | ASKERS | engines


def test_callers_reach_no_metrics(deployment):
    for policy in deployment.of("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            ports = {port["port"] for port in rule["ports"]}
            metrics = {port for port in ports if 9150 <= port <= 9154}
            assert not metrics or ports == metrics


def test_prometheus_reaches_metrics_alone(deployments):
    for component, port in {"gateway": 9150, "vision": 9151, "vllm": 8000, "triton": 8002}.items():
        rules = deployments["engines"].one("NetworkPolicy", component)["spec"]["ingress"]
        assert [rule["ports"] for rule in rules if rule["from"] == [namespace("monitoring")]] == [
            [{"protocol": "TCP", "port": port}]
        ]


def test_each_way_out_has_a_reason(deployments):
    dns, https, traces, postgres = 53, 443, 4317, 5432
    default, gpu = deployments["default"], deployments["gpu"]
    assert ways_out(default, "gateway") == [dns, 80, https]  # media by URL
    assert ways_out(default, "vision") == [dns, https]  # weights
    assert ways_out(default, "retrieval") == [dns, https]
    assert ways_out(gpu, "gateway") == [dns, 80, https, https, traces, postgres]  # and objects
    assert ways_out(gpu, "retrieval") == [dns, https, https, traces, postgres]  # weights from S3, too


def test_the_public_is_not_the_cluster(deployments):
    spec = deployments["default"].one("NetworkPolicy", "gateway")["spec"]
    (blocks,) = [rule["to"] for rule in spec["egress"] if any("ipBlock" in peer for peer in rule["to"])]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(blocks[0]["ipBlock"]["except"])
    assert {"fc00::/7", "fe80::/10"} <= set(blocks[1]["ipBlock"]["except"])


def test_postgres_in_the_cluster_is_reached_by_the_processes_that_use_it(deployments):
    rules = deployments["embedded"].one("NetworkPolicy", "postgres")["spec"]["ingress"]
    assert [rule["ports"][0]["port"] for rule in rules] == [5432, 5432]
    (peer,) = rules[0]["from"]
    allowed = [pod for pod in PODS if chooses(peer["podSelector"], pod)]
    assert sorted(allowed) == ["gateway", "retrieval", "speech"]
    labels = {"cnpg.io/cluster": deployments["embedded"].one("Cluster", "postgres")["metadata"]["name"]}
    for name in allowed:
        egress = deployments["embedded"].one("NetworkPolicy", name)["spec"]["egress"]
        assert [{"podSelector": {"matchLabels": labels}}] in [rule["to"] for rule in egress]


def test_cilium_opens_ways_out_by_name():
    deployment = deploy("", {"global": {"network": {"cilium": True}}})
    assert ways_out(deployment, "vision") == [53]
    rules = deployment.one("CiliumNetworkPolicy", "vision")["spec"]["egress"]
    assert {"matchPattern": "huggingface.co"} in rules[1]["toFQDNs"]
    assert rules[1]["toPorts"] == [{"ports": [{"port": "443", "protocol": "TCP"}]}]
    assert ways_out(deployment, "gateway") == [53, 80, 443]  # what callers name in image_url has no one name
    made = [policy["metadata"]["name"] for policy in deployment.of("CiliumNetworkPolicy")]
    assert f"{render.RELEASE}-gateway" not in made


PUBLIC = "every public address"


@pytest.mark.parametrize(
    ("endpoint", "to", "port"),
    [
        ("http://minio:9000", {"podSelector": {}}, 9000),
        ("http://minio.storage:9000", namespace("storage"), 9000),
        ("https://minio.storage.svc.cluster.local", namespace("storage"), 443),
        ("https://10.1.2.3:9000", {"ipBlock": {"cidr": "10.1.2.3/32"}}, 9000),
        ("https://s3.example.com:8443", PUBLIC, 8443),
        ("http://storage.example.com", PUBLIC, 80),
    ],
)
def test_an_endpoint_opens_the_way_to_itself(endpoint, to, port):
    s3 = {"objects": {"url": "s3://a/b"}, "s3": {"endpoint": endpoint}}
    (rule,) = without(deploy("", {"global": s3}), deploy("", {}), "vision")
    assert [row["port"] for row in rule["ports"]] == [port]
    assert ("0.0.0.0/0" in str(rule["to"])) if to == PUBLIC else (rule["to"] == [to])


def without(deployment, other, component):
    """The egress rules of one deployment that another has not."""
    rules, others = (made.one("NetworkPolicy", component)["spec"]["egress"] for made in (deployment, other))
    return [rule for rule in rules if rule not in others]


@pytest.mark.parametrize("cilium", [False, True])
def test_a_destination_that_is_said_is_taken_at_its_word(cilium):
    said = {"ports": [9000], "to": [namespace("store")]}
    s3 = {"endpoint": "http://minio:80"}
    network = {"cilium": cilium, "destinations": {"objects": said}}
    values = {"objects": {"url": "s3://a/b"}, "s3": s3, "network": network}
    (rule,) = without(deploy("", {"global": values}), deploy("", {}), "vision")
    assert rule == {"to": said["to"], "ports": [{"protocol": "TCP", "port": 9000}]}


def test_a_hub_and_a_mirror_of_one_s_own_are_reached():
    weights = {"hubEndpoint": "https://hub.example.com:8443", "mirrorUrl": "http://mirror.models/weights"}
    hub, mirror = without(deploy("", {"global": {"weights": weights}}), deploy("", {}), "vision")
    assert (hub["ports"][0]["port"], mirror["to"]) == (8443, [namespace("models")])


def test_the_canary_reaches_the_configured_pushgateway():
    values = {"canary": {"enabled": True, "pushgatewayUrl": "http://push.metrics.svc:9999"}}
    (rule,) = without(deploy("", values), deploy("", {}), "clients")
    assert rule == {"to": [namespace("metrics")], "ports": [{"protocol": "TCP", "port": 9999}]}


@pytest.mark.parametrize("entrance", [{"type": "ingress"}, {"type": "httproute", "className": "envoy"}])
def test_the_ingress_controller_reaches_the_http_port_of_the_gateway_only(entrance):
    peers = [namespace("proxies")]
    spec = deploy("", {"ingress": {**entrance, "from": peers}}).one("NetworkPolicy", "ingress")["spec"]
    assert [pod for pod in PODS if chooses(spec["podSelector"], pod)] == ["gateway"]
    assert spec["ingress"] == [{"from": peers, "ports": [{"protocol": "TCP", "port": 8080}]}]
    assert "proxies" not in str(deploy("", {}).of("NetworkPolicy"))


@pytest.mark.parametrize(
    ("component", "host"),
    [
        ("vision", "huggingface.co"),
        ("vision", "cdn-lfs.huggingface.co"),
        ("vision", "cdn-lfs.hf.co"),
        ("vision", "cas-bridge.xethub.hf.co"),
        ("vision", "us.aws.cdn.hf.co"),
        ("gateway", "s3.eu-central-1.amazonaws.com"),
        ("gateway", "bucket.s3.eu-central-1.amazonaws.com"),
        ("gateway", "sts.eu-central-1.amazonaws.com"),
    ],
)
def test_names_are_as_deep_as_the_hosts_that_are_asked(component, host):
    """A `*` of Cilium's is a part of one label: pkg/fqdn/matchpattern."""
    deployment = deploy("", {"global": {"network": {"cilium": True}, "objects": {"url": "s3://bucket/objects"}}})
    rules = deployment.one("CiliumNetworkPolicy", component)["spec"]["egress"]
    names = [row["matchPattern"] for rule in rules for row in rule.get("toFQDNs", ())]
    assert any(re.fullmatch(re.escape(name).replace(r"\*", "[-a-zA-Z0-9_]*"), host) for name in names)


def test_cilium_opens_an_endpoint_by_its_name():
    s3 = {"objects": {"url": "s3://a/b"}, "s3": {"endpoint": "https://s3.example.com:8443"}}
    deployment = deploy("", {"global": {**s3, "network": {"cilium": True}}})
    *_, rule = deployment.one("CiliumNetworkPolicy", "gateway")["spec"]["egress"]
    assert rule["toFQDNs"] == [{"matchPattern": "s3.example.com"}]
    assert rule["toPorts"] == [{"ports": [{"port": "8443", "protocol": "TCP"}]}]


def test_policies_can_be_left_to_others():
    assert not deploy("", {"global": {"network": {"policies": False}}}).of("NetworkPolicy")
