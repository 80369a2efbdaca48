"""Values that cannot be meant are refused, with words that say which and why."""

import helm_python as helm
import pytest
import yaml

from charts import render

REFUSED = [
    ({"global": {"profil": "gpu"}}, "/global", "additional properties 'profil' not allowed"),
    ({"global": {"profile": "mine"}}, "/global/profile", "one of 'embedded', 'fake', 'gpu', 'gpu-vllm', 'gpu-voices'"),
    ({"vison": {}}, "at ''", "additional properties 'vison' not allowed"),
    ({"vision": {"replica": 2}}, "vision", "additional properties 'replica' not allowed"),
    ({"vision": {"replicas": -1}}, "/replicas", "minimum: got -1, want 0"),
    ({"vision": {"kind": "DaemonSet"}}, "/kind", "one of 'Deployment', 'StatefulSet'"),
    ({"vision": {"ports": {"grpc": 70000}}}, "/ports/grpc", "maximum: got 70,000, want 65,535"),
    ({"vision": {"settings": {"maxImageBytes": 1}}}, "vision", "invalid propertyName 'maxImageBytes'"),
    ({"vision": {"resources": {"requests": None}}}, "/resources", "requests"),
    (
        {"vision": {"resources": {"requests": {"memory": "1 GB"}}}},
        "/resources/requests/memory",
        "'1 GB' does not match",
    ),
    ({"vision": {"gpu": {"resource": "gpu"}}}, "/gpu/resource", "'gpu' does not match"),
    ({"vision": {"needs": ["weight"]}}, "/needs/0", "one of 'weights', 'objects', 'database', 'media'"),
    ({"vision": {"autoscaling": {"type": "vpa"}}}, "/autoscaling/type", "one of 'none', 'hpa', 'keda'"),
    (
        {"vision": {"autoscaling": {"targetUtilization": 1.5}}},
        "/autoscaling/targetUtilization",
        "maximum: got 1.5, want 1",
    ),
    ({"vision": {"autoscaling": {"enginesPerPod": 0}}}, "/autoscaling/engines", "exclusiveMinimum: got 0, want 0"),
    ({"global": {"objects": {"url": "/mnt/objects"}}}, "/global/objects/url", "'/mnt/objects' does not match"),
    (
        {"global": {"apiKeys": {"extraKeys": [{"sha256": "secret", "owner": "a"}]}}},
        "/extraKeys/0/sha256",
        "does not match",
    ),
    ({"global": {"apiKeys": {"extraKeys": [{"owner": "a"}]}}}, "/extraKeys/0", "missing property 'sha256'"),
    ({"global": {"tls": {"issuer": {"kind": "CA"}}}}, "/tls/issuer/kind", "one of 'Issuer', 'ClusterIssuer'"),
    ({"ingress": {"type": "loadbalancer"}}, "/ingress/type", "one of 'none', 'ingress', 'httproute'"),
    ({"canary": {"schedule": "hourly"}}, "/canary/schedule", "'hourly' does not match"),
    (
        {"vision": {"autoscaling": {"type": "hpa"}}},
        "vision.autoscaling.type is hpa",
        "needs the metrics of Prometheus",
    ),
    (
        {"global": {"monitoring": {"enabled": True}}, "vision": {"autoscaling": {"type": "hpa", "minReplicas": 0}}},
        "vision.autoscaling.minReplicas is 0",
        "which only keda can do",
    ),
    (
        {"global": {"monitoring": {"enabled": True}}, "vision": {"autoscaling": {"type": "hpa", "minReplicas": 9}}},
        "vision.autoscaling.minReplicas",
        "exceeds its max",
    ),
    (
        {"global": {"monitoring": {"enabled": True}}, "gateway": {"autoscaling": {"type": "hpa"}}},
        "gateway.autoscaling",
        "has no engines and no offered load: set gateway.replicas",
    ),
    (
        {
            "global": {"monitoring": {"enabled": True}},
            "vllm": {
                "enabled": True,
                "chassis": False,
                "image": {"tag": "1"},
                "ports": {"http": 1},
                "autoscaling": {"type": "hpa"},
            },
        },
        "vllm.autoscaling",
        "set type keda and offeredLoadOf to the service that calls it",
    ),
    ({"global": {"monitoring": {"interval": "1m"}}}, "/monitoring/interval", "'1m' does not match"),
    (
        {"global": {"database": {"secret": "mine", "cloudnativepg": {"enabled": True}}}},
        "global.database",
        "both a secret and cloudnativepg: choose one",
    ),
    (
        {"global": {"apiKeys": {"existingSecret": "mine", "extraKeys": [{"sha256": "0" * 64, "owner": "a"}]}}},
        "global.apiKeys has both extraKeys and an existingSecret",
        "write them into keys.toml of mine",
    ),
    ({"generation": {"gpu": {"count": 1}}}, "generation.gpu.count", "through vLLM"),
    ({"gateway": {"gpu": {"count": 1}}}, "gateway.gpu.count", "no image of it uses a GPU"),
    ({"ingress": {"type": "httproute", "from": [{"podSelector": {}}]}}, "is httproute", "ingress.gateway.name"),
    ({"ingress": {"type": "ingress"}}, "ingress.type is ingress", "set ingress.from to the pods that forward requests"),
]


@pytest.mark.parametrize(("values", "where", "why"), REFUSED, ids=[row[1] for row in REFUSED])
def test_refused(values, where, why):
    with pytest.raises(helm.HelmError) as error:
        list(render.manifests(values))
    assert where in str(error.value)
    assert why in str(error.value)


@pytest.mark.parametrize("name", ["a" * 41, "a.b"])
def test_a_release_whose_objects_could_not_be_named_is_refused(name):
    with helm.Chart.load(render.UMBRELLA) as chart, pytest.raises(helm.HelmError, match="at most 40 letters"):
        chart.render({}, name=name, namespace="models")


def test_the_longest_release_name_is_in_bounds():
    with helm.Chart.load(render.UMBRELLA) as chart:
        made = chart.render(render.values("embedded"), name="a" * 40, namespace="models")
        made.pop("polyphony/templates/NOTES.txt", None)
    objects = [one for text in made.values() for one in yaml.safe_load_all(text)]
    # A PriorityClass's name may be longer than a Service's.
    assert max(len(one["metadata"]["name"]) for one in objects if one and one["kind"] != "PriorityClass") <= 63
