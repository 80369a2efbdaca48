"""The catalogue: every row parses and points at what is there."""

import importlib
from importlib import resources
from pathlib import Path

import pytest

from fleet.settings import FleetSettings
from fleet.weights import weights
from servekit.errors import NotFound
from servekit.models import catalogue

ROOT = Path(__file__).parents[4]
MODELS, PROFILES = catalogue.names("models"), catalogue.names("profiles")


def tasks_of(service):
    """The task table of a service, by the tasks' names."""
    settings = importlib.import_module(f"services.{service}.settings")
    rows = importlib.import_module(f"services.{service}.tasks").tasks(getattr(settings, f"{service.title()}Settings")())
    return {row.name: row for row in rows}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_parses_and_its_service_can_load_it(name):
    spec = catalogue.model(name)
    assert spec.id == name
    assert spec.licence
    for service in spec.services:
        assert spec.runtime in tasks_of(service)[spec.task].runtimes
    assert len({file.path for file in spec.files}) == len(spec.files)
    for file in spec.files:
        assert not file.path.startswith("/")
        assert ".." not in file.path
        assert file.sources


@pytest.mark.parametrize("service", catalogue.profile("fake").services)
def test_every_runtime_of_a_task_table_is_there(service):
    for row in tasks_of(service).values():
        isinstance(row, row.port)  # raises TypeError where the port cannot be checked at run time
        for target in row.runtimes.values():
            module, _, function = target.partition(":")
            source = (
                ROOT / f"{module.replace('.', '/')}.py"
            ).read_text()  # not imported: its engine may not be installed
            assert f"def {function}(" in source, target


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_names_models_of_the_right_service(name):
    for service, row in catalogue.profile(name).services.items():
        for spec in catalogue.models_of(name, service):
            assert service in spec.services, f"{name}: {spec.id}"
        assert len(set(row.models)) == len(row.models)


# The tasks that routes of the official client and pipelines need in every profile.
NEEDED = {
    "read_text", "detect_speech", "transcribe", "embed_speaker", "enhance", "classify_sentiment", "synthesize",
    "generate_text", "embed",
}  # fmt: skip


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_a_model_for_every_task_that_is_needed(name):
    specs = [spec for service in catalogue.profile(name).services for spec in catalogue.models_of(name, service)]
    assert {spec.task for spec in specs} >= NEEDED
    assert any(spec.options.get("translates", True) for spec in specs if spec.task == "transcribe")


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"fake"}))
def test_the_models_of_the_official_client_are_the_defaults(name):
    speech = catalogue.models_of(name, "speech")
    heard, spoken = (next(spec for spec in speech if spec.task == task) for task in ("transcribe", "synthesize"))
    assert {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"} == set(
        heard.aliases
    )
    assert {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"} == set(spoken.aliases)


def test_names_and_aliases_are_no_ones_twice():
    for profile in PROFILES:
        specs = [
            spec for service in catalogue.profile(profile).services for spec in catalogue.models_of(profile, service)
        ]
        names = [name for spec in specs for name in (spec.id, *spec.aliases)]
        assert len(set(names)) == len(names), profile


def test_the_fakes_weigh_nothing():
    for service in catalogue.profile("fake").services:
        assert all(not spec.files for spec in catalogue.models_of("fake", service))


def test_what_is_not_there_is_not_found():
    for find, name in ((catalogue.model, "gpt-9"), (catalogue.profile, "toaster"), (catalogue.model, "")):
        with pytest.raises(NotFound, match="the catalogue has no"):
            find(name)
    assert catalogue.models_of("fake", "toaster") == ()


def test_a_model_of_several_services_is_listed_once_and_runs_in_each(tmp_path):
    for kind in ("models", "profiles"):
        (tmp_path / kind).mkdir()
    source = (resources.files("catalogue") / "models" / "fake-embedder.toml").read_text()
    shared = source.replace('services = ["retrieval"]', 'services = ["retrieval", "vision"]')
    assert shared != source
    (tmp_path / "models" / "shared.toml").write_text(shared)
    sections = "".join(f'[services.{name}]\nmodels = ["shared"]\n' for name in ("vision", "retrieval"))
    (tmp_path / "profiles" / "ours.toml").write_text(f'title = "Ours"\n{sections}')
    assert [spec.id for spec in catalogue.profile_models("ours", tmp_path)] == ["shared"]
    for service in ("vision", "retrieval"):
        assert [spec.id for spec in catalogue.models_of("ours", service, tmp_path)] == ["shared"]
    settings = FleetSettings(profile="ours", catalogue=tmp_path)
    assert [spec.id for spec in weights.specs(settings)] == ["shared"]


def test_a_folder_of_rows_adds_to_the_catalogue_and_takes_the_place_of_its_own(tmp_path):
    for kind in ("models", "profiles"):
        (tmp_path / kind).mkdir()
    source = resources.files("catalogue") / "models" / "fake-reader.toml"
    (tmp_path / "models" / "our-reader.toml").write_text(source.read_text())
    (tmp_path / "profiles" / "fake.toml").write_text('title = "Ours"\n[services.vision]\nmodels = ["our-reader"]\n')
    assert catalogue.names("models", tmp_path) == sorted([*MODELS, "our-reader"])
    assert catalogue.names("profiles", tmp_path) == PROFILES
    (ours,) = catalogue.models_of("fake", "vision", tmp_path)
    assert (ours.id, ours.runtime) == ("our-reader", catalogue.model("fake-reader").runtime)
    assert catalogue.models_of("embedded", "vision", tmp_path) == catalogue.models_of("embedded", "vision")
    assert catalogue.names("models", tmp_path / "nothing") == MODELS
