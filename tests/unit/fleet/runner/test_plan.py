import os
import socket
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.runner import plan, ports
from fleet.runner.postgres import Postgres
from fleet.runner.process import Process
from fleet.settings import FleetSettings
from servekit.models import catalogue
from servekit.ops.settings import available_cores

FAKE = catalogue.profile("fake")


def planned(settings: FleetSettings, postgres: Postgres | None = None) -> dict[str, Process]:
    return {process.name: process for process in plan.processes(settings, FAKE, postgres)}


def with_environment(settings: FleetSettings, **variables: str) -> FleetSettings:
    return settings.model_copy(update={"environment": variables})


def test_every_process_gets_its_ports_and_folders(settings: FleetSettings, home: Path):
    processes = planned(settings)
    assert list(processes) == ["vision", "speech", "generation", "retrieval", "gateway"]
    vision, gateway = processes["vision"], processes["gateway"]
    assert vision.command[-3:] == ("-P", "-m", "services.vision")
    assert vision.environment["POLYPHONY_VISION_HOME"] == str(home)
    assert vision.environment["POLYPHONY_VISION_PROFILE"] == "fake"
    assert vision.environment["POLYPHONY_VISION_THREADS"] == str(max(1, round(0.5 * available_cores())))
    assert gateway.environment["POLYPHONY_GATEWAY_VISION_TARGET"] == vision.address
    assert gateway.environment["POLYPHONY_GATEWAY_HTTP_PORT"] == str(gateway.port)
    ports = [value for p in processes.values() for key, value in p.environment.items() if key.endswith("PORT")]
    assert len(ports) == len(set(ports)) == 11


def test_no_two_have_the_same_free_port(settings: FleetSettings, home: Path):
    (home / "password").write_text("secret")
    own = ports.free()
    processes = planned(settings, Postgres(home / "data", home / "password", own, settings.postgres_user, home))
    chosen = [value for p in processes.values() for key, value in p.environment.items() if key.endswith("PORT")]
    assert len({str(own), *chosen}) == len(chosen) + 1 == 12


def test_images_set_what_the_fleet_sets():
    image = (Path(__file__).parents[4] / "Dockerfile").read_text()
    assert all(f"{name}={value}" in image for name, value in plan.USUAL.items())


def test_what_the_user_set_wins(settings: FleetSettings):
    chosen = {
        "POLYPHONY_THREADS": "3",
        "POLYPHONY_VISION_THREADS": "5",
        "POLYPHONY_VISION_PORT": "0",
        "POLYPHONY_GATEWAY_SPEECH_TARGET": "elsewhere:1",
        "POLYPHONY_RETRIEVAL_DATABASE_URL": "postgresql://elsewhere/db",
        "POLYPHONY_SPEECH_DATABASE_URL": "postgresql://elsewhere/db",
        "POLYPHONY_GATEWAY_DATABASE_URL": "postgresql://elsewhere/db",
    }
    mine = with_environment(settings, **chosen)
    assert plan.database(mine, catalogue.profile("embedded")) is None
    processes = planned(mine)
    assert processes["vision"].environment["POLYPHONY_VISION_THREADS"] == "5"
    assert "POLYPHONY_SPEECH_THREADS" not in processes["speech"].environment
    assert processes["gateway"].environment["POLYPHONY_GATEWAY_SPEECH_TARGET"] == "elsewhere:1"
    assert processes["retrieval"].environment["POLYPHONY_RETRIEVAL_DATABASE_URL"] == "postgresql://elsewhere/db"
    assert processes["vision"].environment["POLYPHONY_VISION_PORT"] != "0"


def test_a_fleet_of_fakes_stores_everything_in_memory_and_runs_no_postgres(settings: FleetSettings):
    assert plan.database(settings, FAKE) is None
    for name in ("speech", "retrieval", "gateway"):
        assert planned(settings)[name].environment[f"POLYPHONY_{name.upper()}_DATABASE_URL"] == "memory:"
    assert plan.database(settings, catalogue.profile("embedded")) is not None


def test_postgres_runs_for_each_process_that_has_no_other_database(settings: FleetSettings, home: Path):
    (home / "password").write_text("secret")
    postgres = Postgres(home / "data", home / "password", 40_000, settings.postgres_user, home)
    elsewhere = "postgresql://elsewhere/db"
    for chosen, other in (("GATEWAY", "RETRIEVAL"), ("RETRIEVAL", "GATEWAY")):
        mine = with_environment(settings, **{f"POLYPHONY_{chosen}_DATABASE_URL": elsewhere})
        embedded = catalogue.profile("embedded")
        assert plan.database(mine, embedded) is not None
        urls = {
            name: process.environment.get(f"POLYPHONY_{name.upper()}_DATABASE_URL")
            for process in plan.processes(mine, embedded, postgres)
            if (name := process.name) != "postgres"
        }
        assert urls[chosen.lower()] == elsewhere
        assert urls[other.lower()] == postgres.url
        assert urls["speech"] == postgres.url
        assert {urls[name] for name in ("vision", "generation")} == {None}
    alone = embedded.model_copy(update={"services": {"vision": embedded.services["vision"]}})
    assert plan.database(settings, alone) is not None


def test_a_taken_port_is_named_with_its_holder_and_its_setting(settings: FleetSettings):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(FleetError) as error:
            planned(with_environment(settings, POLYPHONY_SPEECH_METRICS_PORT=str(port)))
    text = str(error.value)
    assert f"port {port} is in use by process {os.getpid()} (" in text
    assert "POLYPHONY_SPEECH_METRICS_PORT" in text


def test_the_documented_ports_are_the_ones_used(settings: FleetSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fleet.runner.ports.check", lambda wanted: None)
    processes = planned(settings.model_copy(update={"ports": "fixed"}))
    assert processes["gateway"].address == "http://127.0.0.1:8080"
    assert processes["retrieval"].address == "127.0.0.1:50054"
    assert processes["retrieval"].environment["POLYPHONY_RETRIEVAL_METRICS_PORT"] == "9154"


def test_a_process_that_speaks_tls_is_asked_in_plain_text(settings: FleetSettings, home: Path):
    shared = planned(settings.model_copy(update={"tls_certificate_file": home / "chain.pem"}))
    for name in ("vision", "gateway"):
        assert shared[name].environment[f"POLYPHONY_{name.upper()}_HEALTH_PORT"]
    assert shared["vision"].environment["POLYPHONY_VISION_HEALTH_PORT"] == str(shared["vision"].port)
    assert not shared["vision"].grpc.endswith(f":{shared['vision'].port}")
    own = planned(with_environment(settings, POLYPHONY_SPEECH_TLS_CERTIFICATE_FILE="chain.pem"))
    assert own["speech"].port == int(own["speech"].environment["POLYPHONY_SPEECH_HEALTH_PORT"])
    assert own["vision"].grpc.endswith(f":{own['vision'].port}")
