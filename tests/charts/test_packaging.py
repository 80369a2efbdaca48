"""The umbrella as it is handed on: rendered from a clone, and from an archive, without a registry."""

import shutil
from pathlib import Path

import helm_python as helm
import pytest
import yaml

from charts import render


def rendered(path: Path) -> list[str]:
    with helm.Chart.load(path) as chart:
        return sorted(chart.render({}, name=render.RELEASE, namespace=render.NAMESPACE))


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(render.CHARTS, tmp_path / "charts", symlinks=True)
    return tmp_path / "charts"


def test_the_archive_holds_the_service_chart(clone):
    archive = Path(helm.package(clone / "polyphony", destination=clone))
    assert rendered(archive) == rendered(render.UMBRELLA)


def test_an_old_archive_of_the_service_chart_is_not_used(clone):
    helm.dependency_build(clone / "polyphony")
    assert list((clone / "polyphony" / "charts").glob("*.tgz"))
    (clone / "service" / "templates" / "added.yaml").write_text("")
    assert f"{render.RELEASE}/charts/vision/templates/added.yaml" in rendered(clone / "polyphony")


def test_every_dependency_is_the_one_service_chart():
    rows = yaml.safe_load((render.UMBRELLA / "Chart.yaml").read_text())["dependencies"]
    version = yaml.safe_load((render.SERVICE / "Chart.yaml").read_text())["version"]
    assert {(row["name"], row["version"], row["repository"]) for row in rows} == {
        ("service", version, "file://../service")
    }
    assert [row["alias"] for row in rows if "condition" not in row] == ["gateway"]


def test_the_notes_say_what_to_type_next(clone):
    with helm.Chart.load(render.UMBRELLA) as chart:
        notes = chart.render({}, name="fleet", namespace="models")["polyphony/templates/NOTES.txt"]
    assert "helm test fleet --namespace models" in notes
    assert "get secret fleet-keys" in notes
    assert "port-forward service/fleet-gateway-http 8080:8080" in notes
    assert "No database is configured" in notes
    assert "global.image.tag=$(make --silent tag)" in notes
