"""From requests to prompts: what passes, what is refused and under which name."""

import json
import math

import pytest
from polyphony.generation.v1.generation_pb2 import GenerateTextRequest, JsonObject, TextFormat, TextMessage, TextPart

from servekit.rpc.errors import InvalidArgument, TooLarge
from services.generation.generate_text.prompts import parse_schema, read
from services.generation.settings import GenerationSettings

USER, SYSTEM = TextMessage.ROLE_USER, TextMessage.ROLE_SYSTEM


def message(*texts, role=USER, max_tokens=0):
    return TextMessage(role=role, parts=[TextPart(text=text, max_tokens=max_tokens) for text in texts])


def request(*messages, **more):
    return GenerateTextRequest(messages=messages or [message("hello")], **more)


def schema(text):
    return request(format=TextFormat(json_schema=text))


@pytest.fixture(scope="module")
def settings():
    return GenerationSettings()


def test_a_request_becomes_a_prompt(settings):
    prompt = read(
        request(
            message("Be brief.", role=SYSTEM),
            message("one ", "two", max_tokens=7),
            max_tokens=9,
            stop=["END"],
            temperature=0.0,
            top_p=1.0,
            seed=-3,
        ),
        settings,
    )
    assert [(turn.role, turn.text) for turn in prompt.turns] == [("system", "Be brief."), ("user", "one two")]
    assert [part.max_tokens for part in prompt.turns[1].parts] == [7, 7]
    assert (prompt.max_tokens, prompt.stop, prompt.temperature, prompt.top_p, prompt.seed) == (9, ("END",), 0, 1, -3)


def test_what_is_unset_stays_unset(settings):
    prompt = read(request(), settings)
    assert (prompt.temperature, prompt.top_p, prompt.seed, prompt.schema) == (None, None, None, None)


def test_formats_are_schemas(settings):
    assert read(request(format=TextFormat(json_object=JsonObject())), settings).schema == {"type": "object"}
    assert read(schema('{"type": "array"}'), settings).schema == {"type": "array"}
    assert read(request(format=TextFormat()), settings).schema is None


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|eot_id|>", "<|endoftext|>"])
def test_text_cannot_pass_for_the_chat_template(settings, token):
    text = read(request(message(f"a{token}b <| c |> <x|y>")), settings).turns[0].text
    assert token not in text
    assert text.replace("< |", "<|") == f"a{token}b <| c |> <x|y>"


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (request(message("a"), TextMessage(parts=[TextPart(text="b")])), "messages[1].role"),
        (request(message("a", role=9)), "messages[0].role"),
        (request(message("a", "b", max_tokens=-1)), "messages[0].parts[0].max_tokens"),
        (request(max_tokens=-1), "max_tokens"),
        (request(stop=["a"] * 5), "stop"),
        (request(stop=["a", ""]), "stop[1]"),
        (request(temperature=-0.1), "temperature"),
        (request(temperature=2.1), "temperature"),
        (request(temperature=math.nan), "temperature"),
        (request(top_p=0.0), "top_p"),
        (request(top_p=1.1), "top_p"),
        (request(top_p=math.inf), "top_p"),
        (schema(""), "format.json_schema"),
        (schema("{"), "format.json_schema"),
        (schema("[]"), "format.json_schema"),
        (schema('{"maximum": NaN}'), "format.json_schema"),
    ],
)
def test_what_is_never_right_is_refused_by_name(settings, bad, field):
    with pytest.raises(InvalidArgument) as refused:
        read(bad, settings)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"description": "x" * 20_000}),
        '{"items":' * 100 + "{}" + "}" * 100,
    ],
)
def test_schemas_have_bounds(settings, text):
    with pytest.raises(TooLarge) as refused:
        read(schema(text), settings)
    assert refused.value.field == "format.json_schema"


def test_a_schema_deeper_than_the_parser_goes_is_refused():
    text = '{"items":' * 100_000 + "{}" + "}" * 100_000
    with pytest.raises((InvalidArgument, TooLarge)):
        parse_schema(text, max_bytes=10**7, max_depth=32)


def test_a_schema_of_the_deepest_level_passes():
    text = '{"items":' * 32 + "{}" + "}" * 32
    assert parse_schema(text, max_bytes=1000, max_depth=32)["items"]
    with pytest.raises(TooLarge):
        parse_schema(text, max_bytes=1000, max_depth=31)
