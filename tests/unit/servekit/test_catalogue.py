"""The catalogue: every row parses and points at what is there."""

import importlib
from importlib import resources
from typing import get_args

import pytest

from servekit import catalogue
from servekit.errors import NotFound

MODELS, PROFILES = catalogue.names("models"), catalogue.names("profiles")


@pytest.mark.parametrize("name", MODELS)
def test_every_model_parses_and_its_service_can_load_it(name):
    card = catalogue.model(name)
    assert card.id == name
    assert card.licence
    loaders = importlib.import_module(f"services.{card.service}.models").LOADERS
    assert card.loader in loaders
    assert len({file.path for file in card.files}) == len(card.files)
    for file in card.files:
        assert not file.path.startswith("/")
        assert ".." not in file.path
        assert file.sources


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_names_models_of_the_right_service(name):
    for service, row in catalogue.profile(name).services.items():
        for card in catalogue.models_of(name, service):
            assert card.service == service, f"{name}: {card.id}"
        assert len(set(row.models)) == len(row.models)


# What routes need of a profile. Words are also found by a transcriber, speakers also told by an encoder of voices,
# feeling also read from words and pitch.
NEEDED = set(get_args(catalogue.Task)) - {"align", "diarize", "recognize_emotion"}


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_has_a_model_for_every_route(name):
    cards = [card for service in catalogue.profile(name).services for card in catalogue.models_of(name, service)]
    assert {card.task for card in cards} >= NEEDED
    assert any(card.options.get("translates", True) for card in cards if card.task == "transcribe")


@pytest.mark.parametrize("name", sorted(set(PROFILES) - {"fake"}))
def test_the_models_of_the_official_client_are_the_defaults(name):
    speech = catalogue.models_of(name, "speech")
    heard, spoken = (next(card for card in speech if card.task == task) for task in ("transcribe", "synthesize"))
    assert {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-transcribe-diarize"} == set(
        heard.aliases
    )
    assert {"tts-1", "tts-1-hd", "gpt-4o-mini-tts"} == set(spoken.aliases)


def test_names_and_aliases_are_no_ones_twice():
    for profile in PROFILES:
        cards = [
            card for service in catalogue.profile(profile).services for card in catalogue.models_of(profile, service)
        ]
        names = [name for card in cards for name in (card.id, *card.aliases)]
        assert len(set(names)) == len(names), profile


def test_the_fakes_weigh_nothing():
    for service in catalogue.profile("fake").services:
        assert all(not card.files for card in catalogue.models_of("fake", service))


def test_what_is_not_there_is_not_found():
    for find, name in ((catalogue.model, "gpt-9"), (catalogue.profile, "toaster"), (catalogue.model, "")):
        with pytest.raises(NotFound, match="the catalogue has no"):
            find(name)
    assert catalogue.models_of("fake", "toaster") == ()


def test_a_folder_of_rows_adds_to_the_catalogue_and_takes_the_place_of_its_own(tmp_path):
    for kind in ("models", "profiles"):
        (tmp_path / kind).mkdir()
    source = resources.files("catalogue") / "models" / "fake-reader.toml"
    (tmp_path / "models" / "our-reader.toml").write_text(source.read_text())
    (tmp_path / "profiles" / "fake.toml").write_text('title = "Ours"\n[services.vision]\nmodels = ["our-reader"]\n')
    assert catalogue.names("models", tmp_path) == sorted([*MODELS, "our-reader"])
    assert catalogue.names("profiles", tmp_path) == PROFILES
    (ours,) = catalogue.models_of("fake", "vision", tmp_path)
    assert (ours.id, ours.loader) == ("our-reader", catalogue.model("fake-reader").loader)
    assert catalogue.models_of("embedded", "vision", tmp_path) == catalogue.models_of("embedded", "vision")
    assert catalogue.names("models", tmp_path / "nothing") == MODELS
