"""Which model a caller means."""

import pytest

from gateway.auth import Caller
from gateway.models import ModelDirectory
from servekit.errors import InvalidArgument, NotFound


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("", "whisper-large-v3"),
        ("whisper-1", "whisper-large-v3"),
        ("whisper-large-v3", "whisper-large-v3"),
        ("whisper-large-v3-turbo", "whisper-large-v3-turbo"),  # named by its id; it says itself that it cannot
    ],
)
def test_a_translation_is_for_the_first_that_translates(name, model):
    models = ModelDirectory.of_profile("gpu", None)
    assert models.resolve("transcribe", "", Caller("t")) == "whisper-large-v3-turbo"
    assert models.translator(name, Caller("t")) == model


def test_the_default_translates_where_it_can():
    assert ModelDirectory.of_profile("embedded", None).translator("whisper-1", Caller("t")) == "whisper-base"


@pytest.mark.parametrize(("name", "error"), [("tts-1", InvalidArgument), ("gpt-9", NotFound)])
def test_only_a_transcriber_translates(name, error):
    with pytest.raises(error) as raised:
        ModelDirectory.of_profile("gpu", None).translator(name, Caller("t"))
    assert raised.value.field == "model"
