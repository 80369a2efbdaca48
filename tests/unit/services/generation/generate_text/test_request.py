"""The fields of a request to generate text: their values, and the name of the field that is refused."""

import math

import pytest
from polyphony.generation.v1.generation_pb2 import GenerateTextRequest
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.type.v1.text_format_pb2 import JsonObject, TextFormat

from servekit.errors import InvalidArgument, TooLarge
from servekit.models import catalogue
from services.generation.generate_text.request import parse_request
from services.generation.settings import GenerationSettings

SPEC = catalogue.model("fake-generator")
TEXT = ContentPart(text="hello")


def message(*parts, role=ChatMessage.ROLE_USER):
    return ChatMessage(role=role, parts=parts or [TEXT])


def parse(*messages, spec=SPEC, **fields):
    return parse_request(GenerateTextRequest(messages=messages or [message()], **fields), spec, GenerationSettings())


def test_every_field_becomes_an_option():
    options = parse(
        max_tokens=9,
        stop=["END"],
        temperature=0.0,
        top_p=1.0,
        seed=-3,
        format=TextFormat(json_object=JsonObject()),
    )
    assert (options.max_tokens, options.stop, options.temperature, options.top_p) == (9, ("END",), 0, 1)
    assert (options.seed, options.schema) == (-3, {"type": "object"})


def test_unset_fields_stay_unset():
    options = parse()
    assert (options.temperature, options.top_p, options.seed, options.schema) == (None, None, None, None)


def test_a_medium_passes_where_the_model_takes_it():
    image = message(ContentPart(image=Media(inline=b"a picture")))
    assert parse(image, spec=SPEC.model_copy(update={"modalities": ("text", "image")})).max_tokens == 0
    with pytest.raises(InvalidArgument) as refused:
        parse(image)
    assert refused.value.field == "messages[0].parts[0].image"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_p": math.inf}, "top_p"),
        ({"format": TextFormat(json_schema="{")}, "format.json_schema"),
    ],
)
def test_an_invalid_value_is_refused_by_name(fields, field):
    with pytest.raises(InvalidArgument) as refused:
        parse(**fields)
    assert refused.value.field == field


def test_the_bounds_of_a_schema_are_those_of_the_settings():
    with pytest.raises(TooLarge) as refused:
        parse(format=TextFormat(json_schema=f'{{"description": "{"x" * 20_000}"}}'))
    assert refused.value.field == "format.json_schema"
