"""JSON Schemas within their bounds."""

import json

import pytest
from polyphony.type.v1.text_format_pb2 import JsonObject, TextFormat

from servekit.chat.json_schema import parse_schema, schema_of
from servekit.errors import InvalidArgument, TooLarge


def parse(text, max_bytes=10_000, max_depth=32):
    return schema_of(TextFormat(json_schema=text), max_bytes=max_bytes, max_depth=max_depth)


def test_each_format_has_its_schema():
    assert schema_of(TextFormat(json_object=JsonObject()), max_bytes=1, max_depth=1) == {"type": "object"}
    assert schema_of(TextFormat(), max_bytes=1, max_depth=1) is None
    assert parse('{"type": "array"}') == {"type": "array"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"maximum": NaN}'])
def test_a_text_that_is_not_a_json_object_is_refused(text):
    with pytest.raises(InvalidArgument) as refused:
        parse(text)
    assert refused.value.field == "format.json_schema"


@pytest.mark.parametrize("text", [json.dumps({"description": "x" * 20_000}), '{"items":' * 100 + "{}" + "}" * 100])
def test_a_schema_beyond_its_bounds_is_refused(text):
    with pytest.raises(TooLarge) as refused:
        parse(text)
    assert refused.value.field == "format.json_schema"


def test_a_schema_deeper_than_the_json_parser_goes_is_refused():
    with pytest.raises((InvalidArgument, TooLarge)):
        parse('{"items":' * 100_000 + "{}" + "}" * 100_000, max_bytes=10**7)


def test_a_schema_of_the_greatest_depth_passes():
    text = '{"items":' * 32 + "{}" + "}" * 32
    assert parse_schema(text, max_bytes=1000, max_depth=32)["items"]
    with pytest.raises(TooLarge):
        parse_schema(text, max_bytes=1000, max_depth=31)
