"""JSON bodies: what the error of an invalid one says."""

from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct

from gateway.http.bodies import LANGUAGE_RULE, decode
from gateway.schemas.languages import Language
from servekit.errors import InvalidArgument


class Options(Struct, forbid_unknown_fields=True, frozen=True):
    speed: Annotated[float, Meta(ge=0, le=4)] = 1.0
    names: list[str] = []
    format: Literal["wav", "mp3"] = "wav"
    language: Language = ""


class Call(Struct, forbid_unknown_fields=True):
    input: str
    options: Options = Options()


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b'{"input": "x", "options": {"speed": 9}}', "options.speed", "options.speed must be float <= 4.0"),
        (b'{"input": 1}', "input", "input must be str, got int"),
        (b'{"input": "x", "options": {"names": [1]}}', "options.names[0]", "options.names[0] must be str, got int"),
        (b'{"input": "x", "options": {"format": "ogg"}}', "options.format", "options.format: invalid enum value 'ogg'"),
        (b'{"input": "x", "options": {"language": "English"}}', "options.language", LANGUAGE_RULE),
        (b"{}", "input", "input is required"),
        (b'{"input": "x", "options": {"pitch": 1}}', "options.pitch", "no field options.pitch"),
        (b"[]", "body", "the body must be object, got array"),
        (b"{", "body", "invalid JSON: Input data was truncated"),
    ],
)
def test_an_error_names_the_field_and_what_it_must_be(body, field, message):
    with pytest.raises(InvalidArgument) as caught:
        decode(body, Call)
    assert (caught.value.field, caught.value.message) == (field, message)
