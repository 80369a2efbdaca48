"""Settings: own variables over shared ones, secrets unseen, nonsense refused."""

import os
from typing import ClassVar

import pytest
from pydantic import SecretStr, ValidationError

from servekit.ops.settings import ProcessSettings, available_cores


class Baker(ProcessSettings):
    """A process with a secret."""

    process: ClassVar[str] = "baker"
    recipe_url: SecretStr = SecretStr("")
    """Where the recipe is."""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in os.environ:
        if name.startswith("POLYPHONY_"):
            monkeypatch.delenv(name)


def test_what_is_passed_in_wins_then_the_own_then_the_shared_variable(monkeypatch):
    monkeypatch.setenv("POLYPHONY_PROFILE", "shared")
    assert Baker().profile == "shared"
    monkeypatch.setenv("POLYPHONY_BAKER_PROFILE", "own")
    assert Baker().profile == "own"
    assert Baker(profile="passed").profile == "passed"
    assert ProcessSettings().profile == "shared"


def test_another_process_is_none_of_its_business(monkeypatch):
    monkeypatch.setenv("POLYPHONY_VISION_PORT", "1234")
    monkeypatch.setenv("POLYPHONY_NO_SUCH_FIELD", "1")
    assert Baker().port == 0


def test_secrets_are_masked_in_what_is_printed(monkeypatch):
    monkeypatch.setenv("POLYPHONY_BAKER_RECIPE_URL", "postgresql://u:hunter2@host/db")
    settings = Baker()
    assert settings.recipe_url.get_secret_value().endswith("@host/db")
    assert "hunter2" not in settings.model_dump_json() + repr(settings)


def test_options_are_json(monkeypatch):
    monkeypatch.setenv("POLYPHONY_MODEL_OPTIONS", '{"latency_seconds": 0.5}')
    assert Baker().model_options == {"latency_seconds": 0.5}


@pytest.mark.parametrize(
    ("field", "value"),
    [("port", 70000), ("port", -1), ("threads", 0), ("drain_timeout_seconds", -1), ("log_level", "LOUD")],
)
def test_nonsense_is_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        Baker(**{field: value})


def test_they_are_frozen():
    with pytest.raises(ValidationError):
        Baker().port = 1


def test_every_field_says_why():
    assert [name for name, field in Baker.model_fields.items() if not field.description] == []


def test_there_is_at_least_one_core():
    assert 1 <= available_cores() <= os.cpu_count()
