"""skaffold.yaml builds every image that the charts run, by name. Its schema is in no package: it was asked by hand."""

import re
import subprocess

import pytest
import yaml

from charts import render
from tests.charts.conftest import CHASSIS, container, deploy

ROOT = render.CHARTS.parent
CONFIG = yaml.safe_load((ROOT / "skaffold.yaml").read_text())
(GPU,) = CONFIG["profiles"]
IMAGES = {f"polyphony-{name}" for name in (*CHASSIS, "tools")}


def assigned(pairs):
    """What `--set` would make of dotted names."""
    values = {}
    for name, value in pairs.items():
        below = value
        for key in reversed(name.split(".")):
            below = {key: below}
        values = render.merged(values, below)
    return values


def values_of(config):
    (release,) = config["deploy"]["helm"]["releases"]
    files = [yaml.safe_load((ROOT / name).read_text()) for name in release["valuesFiles"]]
    images = {
        name: re.sub(r"{{\.IMAGE_(REPO|TAG)_(\w+)}}", r"\2", text).replace("_", "-")
        for name, text in release["setValueTemplates"].items()
    }
    return render.merged(*files, assigned(release.get("setValues", {})), assigned(images))


@pytest.mark.parametrize("config", [CONFIG, GPU], ids=["cpu", "gpu"])
def test_every_image_is_built_from_the_one_dockerfile(config):
    artifacts = config["build"]["artifacts"]
    assert {row["image"] for row in artifacts} == IMAGES
    dockerfile = (ROOT / "Dockerfile").read_text()
    for row in artifacts:
        docker = row["docker"]
        assert docker["buildArgs"] == {"SERVICE": row["image"].removeprefix("polyphony-")}
        assert re.search(rf"^FROM \S+ AS {docker['buildArgs']['SERVICE']}$", dockerfile, re.MULTILINE)
        assert re.search(rf"^FROM \S+ AS {docker['target']}$", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("config", [CONFIG, GPU], ids=["cpu", "gpu"])
def test_the_charts_run_what_was_built(config):
    deployment = deploy("", values_of(config))
    for name, template in deployment.templates():
        for box in [*template["spec"]["containers"], *template["spec"].get("initContainers", ())]:
            repository, _, tag = box["image"].partition(":")
            assert repository == tag, (name, box["name"])  # both were replaced by the artifact's name
            assert repository in IMAGES
    for component in CHASSIS:
        box = container(deployment.workload(component)["spec"]["template"])
        assert box["image"].startswith(f"polyphony-{component}:")


def test_the_gpu_profile_gives_gpus_to_what_has_an_image_for_them():
    targets = {row["image"]: row["docker"]["target"] for row in GPU["build"]["artifacts"]}
    deployment = deploy("", values_of(GPU))
    for component in CHASSIS:
        box = container(deployment.workload(component)["spec"]["template"])
        assert (targets[f"polyphony-{component}"] == "gpu") == ("nvidia.com/gpu" in box["resources"]["limits"])


def test_nothing_is_patched_by_its_place():
    assert "patches" not in GPU


def test_what_is_edited_arrives_where_the_process_looks():
    deployment = deploy("", values_of(CONFIG))
    for row in CONFIG["build"]["artifacts"]:
        component = row["image"].removeprefix("polyphony-")
        for rule in row.get("sync", {"manual": ()})["manual"]:
            assert list(ROOT.glob(rule["src"])), rule
            mounts = container(deployment.workload(component)["spec"]["template"])["volumeMounts"]
            assert {"name": "source", "mountPath": rule["dest"]} in mounts


def test_the_hook_ends_the_process_that_serves():
    """As in a container whose processes share one view: `python` is what its command line begins with."""
    hook = CONFIG["build"]["artifacts"][0]["sync"]["hooks"]["after"][0]["container"]["command"]
    assert hook[:2] == ["sh", "-c"]
    found = hook[2].replace("kill ", "echo ").replace("^python", "^skaffolded")
    with subprocess.Popen(["skaffolded", "60"], executable="/bin/sleep") as process:
        told = subprocess.run(["sh", "-c", found], capture_output=True, text=True)
        process.kill()
    assert told.stdout.split() == [str(process.pid)]


def test_the_gateway_is_forwarded():
    (forward,) = CONFIG["portForward"]
    service = deploy("", values_of(CONFIG)).one("Service", "gateway-http")
    assert forward["resourceName"] == service["metadata"]["name"]
    assert forward["port"] == service["spec"]["ports"][0]["port"]
