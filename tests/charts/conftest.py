"""Every deployment rendered once, and the shapes that tests ask about."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from charts import render

Manifest = dict[str, Any]
SERVICES = ("vision", "speech", "generation", "retrieval")
CHASSIS = ("gateway", *SERVICES)
INSTANCE = {"app.kubernetes.io/instance": render.RELEASE}


@dataclass(frozen=True)
class Deployment:
    """What one `helm install` makes."""

    name: str
    manifests: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    def one(self, kind: str, name: str) -> Manifest:
        """The object of that kind; `name` is what stands after the release's."""
        (found,) = [m for m in self.of(kind) if m["metadata"]["name"] == f"{render.RELEASE}-{name}"]
        return found

    def workload(self, component: str) -> Manifest:
        names = f"{render.RELEASE}-{component}"
        (found,) = [m for m in self.of("Deployment", "StatefulSet") if m["metadata"]["name"] == names]
        return found

    def templates(self) -> Iterator[tuple[str, Manifest]]:
        """Every pod that will ever be, as metadata and spec, by the object that makes it."""
        for manifest in self.manifests:
            name = f"{manifest['kind']}/{manifest['metadata']['name']}"
            match manifest["kind"]:
                case "Deployment" | "StatefulSet":
                    yield name, manifest["spec"]["template"]
                case "CronJob":
                    yield name, manifest["spec"]["jobTemplate"]["spec"]["template"]
                case "Pod":
                    yield name, manifest

    def variables(self, component: str) -> dict[str, str]:
        """The ConfigMap that a component's pods take their environment from."""
        return self.one("ConfigMap", component)["data"]


def deploy(name: str, values: Manifest) -> Deployment:
    return Deployment(name, tuple(manifest for _, manifest in render.manifests(values)))


def namespace(name: str) -> Manifest:
    """All pods of a namespace, as a peer of a NetworkPolicy."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def container(template: Manifest) -> Manifest:
    """The one container of a pod, beside those that come before it."""
    (found,) = template["spec"]["containers"]
    return found


@pytest.fixture(scope="session")
def deployments() -> Mapping[str, Deployment]:
    return {name: deploy(name, render.values(name)) for name in render.DEPLOYMENTS}


@pytest.fixture(scope="session", params=render.DEPLOYMENTS)
def deployment(request: pytest.FixtureRequest, deployments: Mapping[str, Deployment]) -> Deployment:
    return deployments[request.param]
