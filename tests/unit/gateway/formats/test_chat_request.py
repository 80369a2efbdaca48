"""The wire format of a chat completion as the contract's request."""

import asyncio
import base64
import json

from google.protobuf.json_format import MessageToDict

from gateway.formats.chat_request import parse_request
from gateway.http.bodies import decode
from gateway.schemas.chat import ChatRequest

PICTURE = base64.b64encode(b"a picture").decode()


def parse(*messages, **fields):
    request = asyncio.run(parse_request(decode(json.dumps({"messages": messages, **fields}).encode(), ChatRequest)))
    return MessageToDict(request, preserving_proto_field_name=True)


def test_every_kind_of_message_and_part_has_its_place():
    content = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": PICTURE, "format": "mp3"}},
        {"type": "input_audio", "input_audio": {"data": "file-1"}},
    ]
    assert parse(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "content": None},
        {"role": "user", "content": content},
    ) == {
        "messages": [
            {"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief."}]},
            {"role": "ROLE_SYSTEM", "parts": [{"text": "Be kind."}]},
            {"role": "ROLE_ASSISTANT", "parts": [{"text": "No."}]},
            {"role": "ROLE_ASSISTANT"},
            {
                "role": "ROLE_USER",
                "parts": [
                    {"text": "What?"},
                    {"image": {"mime_type": "image/png", "inline": PICTURE}},
                    {"image": {"uri": "https://example.com/a.png"}},
                    {"audio": {"mime_type": "audio/mp3", "inline": PICTURE}},
                    {"audio": {"uri": "file-1"}},
                ],
            },
        ]
    }


def test_options_keep_their_values_and_unset_ones_stay_unset():
    message = {"role": "user", "content": "Hi"}
    request = parse(
        message,
        max_tokens=5,
        max_completion_tokens=7,
        stop="END",
        temperature=0,
        seed=-1,
        response_format={"type": "json_object"},
        tools=[{"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 2}],
        modalities=["text", "audio"],
    )
    del request["messages"]
    assert request == {
        "max_tokens": 7,
        "stop": ["END"],
        "temperature": 0.0,
        "seed": "-1",
        "format": {"json_object": {}},
        "file_search": {"vector_store_ids": ["vs_1"], "max_results": 2},
        "spoken": {"voice": "default", "mime_type": "audio/wav"},
    }
    assert list(parse(message)) == ["messages"]
    schema = {"type": "json_schema", "json_schema": {"schema": {"type": "array"}}}
    assert parse(message, response_format=schema)["format"] == {"json_schema": '{"type":"array"}'}


def test_no_store_is_searched_where_tools_are_switched_off():
    tools = [{"type": "file_search", "vector_store_ids": ["vs_1"]}]
    assert "file_search" not in parse({"role": "user", "content": "Hi"}, tools=tools, tool_choice="none")
