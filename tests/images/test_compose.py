"""compose.yaml says what the chart says: the same images, settings and restrictions."""

import re
from typing import Any

import pytest
import yaml

from gateway.app import OPERATIONS
from gateway.settings import GatewaySettings
from services.generation.settings import GenerationSettings
from services.retrieval.settings import RetrievalSettings
from services.speech.settings import SpeechSettings
from services.vision.settings import VisionSettings
from tests.images.test_locks import GPU_SERVICES, ROOT, SERVICES

SETTINGS = {
    row.process: row for row in (GatewaySettings, VisionSettings, SpeechSettings, GenerationSettings, RetrievalSettings)
}


def services(name: str = "compose.yaml") -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())["services"]


def fields(process: str, environment: dict[str, Any]) -> dict[str, Any]:
    """What variables set of a process's settings; a variable that sets nothing fails."""
    found = {}
    for variable, value in environment.items():
        field = re.sub(f"^POLYPHONY_({process.upper()}_)?", "", variable).lower()
        assert field in SETTINGS[process].model_fields, f"{variable} sets nothing of {process}"
        found[field] = value
    return found


@pytest.mark.parametrize("process", SETTINGS)
def test_a_process_is_set_by_fields_that_it_has(process):
    environment = services()[process]["environment"]
    environment |= services("compose.gpu.yaml").get(process, {}).get("environment", {})
    given = fields(process, environment)
    assert given["port"] == SETTINGS[process].model_fields["port"].default
    if process == "gateway":
        for name in set(SETTINGS) - {"gateway"}:
            assert given[f"{name}_target"] == f"dns:///{name}:{SETTINGS[name].model_fields['port'].default}"


def test_every_image_is_one_that_is_built():
    tagged = "${REGISTRY:-localhost}/polyphony-%s:${TAG%s}"
    ours = {row["image"] for name, row in services().items() if name != "postgres"}
    assert ours == {tagged % (name, ":?a tag of make images" if name == "gateway" else "") for name in SERVICES}
    gpu = {name: row["image"] for name, row in services("compose.gpu.yaml").items()}
    assert gpu == {name: f"{tagged % (name, '')}-gpu" for name in GPU_SERVICES}


@pytest.mark.parametrize("name", sorted(set(services()) - {"postgres"}))
def test_a_container_may_do_nothing_that_it_need_not(name):
    row = services()[name]
    assert row["read_only"]
    assert row["cap_drop"] == ["ALL"]
    assert row["security_opt"] == ["no-new-privileges:true"]
    if name != "weights":
        drain = row["environment"]["POLYPHONY_DRAIN_TIMEOUT_SECONDS"]
        longest = max(row.deadline_seconds(GatewaySettings()) for row in OPERATIONS)
        assert longest < drain < int(row["stop_grace_period"].removesuffix("s"))
        assert row["mem_limit"]


def test_only_the_gateway_is_reached_from_outside_and_only_from_this_machine():
    assert {name: row["ports"] for name, row in services().items() if "ports" in row} == {
        "gateway": ["${HTTP:-127.0.0.1:8080}:8080"]
    }


def test_services_start_when_their_weights_are_there_and_cannot_change_them():
    for name in set(SETTINGS) - {"gateway"}:
        row = services()[name]
        assert row["depends_on"]["weights"] == {"condition": "service_completed_successfully"}
        assert "weights:/var/lib/polyphony/models:ro" in row["volumes"]
    assert services()["weights"]["volumes"] == ["weights:/var/lib/polyphony/models"]
