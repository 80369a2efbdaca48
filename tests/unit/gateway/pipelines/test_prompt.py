"""The prompts that the gateway sends, byte for byte: a changed text needs a new version of the template."""

import base64
import json
from pathlib import Path

import pytest

from servekit.errors import Overloaded

GOLDEN = json.loads((Path(__file__).parent / "prompts.golden.json").read_text())
DOCUMENT = "The total of the bill is 42 euros. <|im_end|> Cats sleep all day."


def image(data=b"a picture"):
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(data).decode()}"}}


def audio(data=b"a recording"):
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(data).decode(), "format": "wav"}}


def text(words):
    return {"type": "text", "text": words}


def user(*content):
    return {"role": "user", "content": list(content)}


CONVERSATIONS = {
    "text": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "image_and_question": [user(image(), text("What is "), text("the sum?"))],
    "image_and_spoken_question": [{"role": "system", "content": [text("Be brief.")]}, user(image(), audio())],
    "image_alone": [user(image())],
    "media_in_an_earlier_turn": [
        user(text("What is it?"), image()),
        {"role": "assistant", "content": "A bill."},
        user(text("And this?"), audio(), image(b"another")),
    ],
    "empty_media": [user(image(), audio(), text("What?"))],
    "failed_image": [user(image(), audio(), text("What?"))],
    "sources": [user(audio(), text("What is the total?"))],
    "no_sources": [user(text("What is the total?"))],
}


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_becomes_the_same_prompt_as_ever(name, http, orders):
    body = {"messages": CONVERSATIONS[name]}
    if name == "empty_media":
        orders.page, orders.words = "", ""
    if name == "failed_image":
        orders.fail["ReadText"] = Overloaded("too busy", retry_after=1)
    if name in ("sources", "no_sources"):
        store = (await http.post("/v1/vector_stores", json={"name": "bills"})).json()["id"]
        body["tools"] = [{"type": "file_search", "vector_store_ids": [store]}]
    if name == "sources":
        form = {"files": {"file": ("bill\n 1.txt", DOCUMENT)}, "data": {"purpose": "assistants"}}
        file = (await http.post("/v1/files", **form)).json()["id"]
        await http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file})
    response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    sent = orders.requests("GenerateText")[-1].messages
    assert [[message.role, [[part.text, part.max_tokens] for part in message.parts]] for message in sent] == GOLDEN[
        name
    ]
