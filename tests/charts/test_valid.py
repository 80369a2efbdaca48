"""Every object of every values file by the schemas of the oldest and the newest Kubernetes, unknown fields refused."""

import re
from functools import cache

import jsonschema
import pytest
import yaml
from kubernetes_validate import latest_version
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource

from charts import render

OLDEST = "1.29.0"
# Objects of operators, whose definitions no package carries: test_operators.py says how they have to be.
OPERATORS = {
    "cert-manager.io/v1",
    "cilium.io/v2",
    "gateway.networking.k8s.io/v1",
    "keda.sh/v1alpha1",
    "monitoring.coreos.com/v1",
    "postgresql.cnpg.io/v1",
}


@cache
def registry(version: str) -> Registry:
    definitions = schema_contents(f"kubernetes-json-schema/v{version}-local-strict/_definitions.json", version)
    return Resource.from_contents(definitions) @ Registry()


@cache
def validator(version: str, kind: str, api_version: str) -> jsonschema.Draft202012Validator:
    """What `kubernetes_validate.validate` makes anew for each object."""
    group = re.sub(r"^([^./]*)(?:[.][^/]*)?/", r"\1-", api_version)  # networking.k8s.io/v1 is networking-v1
    schema = schema_contents(f"kubernetes-json-schema/v{version}-local-strict/{kind.lower()}-{group}.json", version)
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry(version))


@pytest.mark.parametrize("version", [OLDEST, latest_version()])
def test_objects_are_valid(deployment, version):
    wrong = []
    for manifest in deployment.manifests:
        if manifest["apiVersion"] not in OPERATORS:
            checked = validator(version, manifest["kind"], manifest["apiVersion"])
            name = f"{manifest['kind']}/{manifest['metadata']['name']}"
            wrong += [f"{name} {list(e.path)}: {e.message}" for e in checked.iter_errors(manifest)]
    assert not wrong, "\n".join(wrong)


def test_the_oldest_is_what_the_charts_ask_for():
    for chart in (render.UMBRELLA, render.SERVICE):
        assert yaml.safe_load((chart / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}-0"


def test_an_unknown_field_would_be_found():
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [], "restrat": 1}}
    assert [error.path[0] for error in validator(OLDEST, "Pod", "v1").iter_errors(pod)] == ["spec"]


def test_names_are_unique_and_in_the_release(deployment):
    names = [(m["kind"], m["metadata"]["name"]) for m in deployment.manifests]
    assert len(set(names)) == len(names)
    for manifest in deployment.manifests:
        assert len(manifest["metadata"]["name"]) <= 63
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == render.RELEASE
        if manifest["kind"] == "PriorityClass":
            assert manifest["metadata"]["name"].startswith(f"{render.NAMESPACE}-{render.RELEASE}-")
        else:
            assert manifest["metadata"]["name"].startswith(render.RELEASE)
            assert manifest["metadata"]["namespace"] == render.NAMESPACE


def test_the_linter_finds_nothing():
    assert {name: render.findings(name) for name in ("default", "engines")} == {"default": [], "engines": []}


def test_the_linter_would_find_something():
    report = render.helm.lint(render.UMBRELLA, {"canary": {"enabled": "yes"}}, strict=True)
    assert report["errors"]
