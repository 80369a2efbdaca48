"""One request of three media through every process."""

import base64

import grpc
import pytest
from openai import OpenAI
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media

from tests.integration.conftest import picture, recording


def url(data, mime_type):
    return f"data:{mime_type};base64," + base64.b64encode(data).decode()


def content(*more):
    return [
        {"type": "image_url", "image_url": {"url": url(picture(), "image/png")}},
        {"type": "input_audio", "input_audio": {"data": base64.b64encode(recording()).decode(), "format": "wav"}},
        *more,
    ]


def test_an_image_a_recording_and_a_document_are_answered_together(fleet, http):
    read = http.post("/v1/vision/read", content=picture()).json()["text"]
    heard = http.post("/v1/audio/transcriptions", files={"file": ("a.wav", recording())}).json()["text"]
    assert read
    assert heard
    with OpenAI(base_url=f"{fleet.address('gateway')}/v1", api_key="none", max_retries=0) as client:
        file = client.files.create(file=("tale.txt", f"{heard} is the password.".encode()), purpose="assistants")
        store = client.vector_stores.create(name="tales", file_ids=[file.id])
        answer = client.chat.completions.create(
            model="fake-generator",
            messages=[{"role": "user", "content": content()}],
            modalities=["text", "audio"],
            audio={"voice": "default", "format": "wav"},
            extra_body={"tools": [{"type": "file_search", "vector_store_ids": [store.id]}]},
        )
    said = answer.choices[0].message.content  # the fake says again what it was told
    assert said.index("is the password") < said.index(read) < said.index(f"Question: {heard}")
    about = answer.model_extra["polyphony"]
    assert [source["filename"] for source in about["sources"]] == ["tale.txt"]
    assert about["degraded"] == []
    assert [step["name"] for step in about["steps"]] == [
        "read_text",
        "transcribe",
        "search",
        "generate_text",
        "synthesize",
    ]
    assert base64.b64decode(answer.choices[0].message.audio.data).startswith(b"RIFF")


def test_grpc_and_http_give_the_same_answer(fleet, http):
    body = {"messages": [{"role": "user", "content": content({"type": "text", "text": "Why?"})}]}
    over_http = http.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    parts = [
        ContentPart(image=Media(inline=picture())),
        ContentPart(audio=Media(inline=recording())),
        ContentPart(text="Why?"),
    ]
    message = ChatMessage(role=ChatMessage.ROLE_USER, parts=parts)
    with grpc.insecure_channel(fleet.address("gateway", "grpc")) as channel:
        events = list(GatewayServiceStub(channel).Chat(pb.ChatRequest(messages=[message])))
    assert "".join(event.delta for event in events) == over_http
    assert [event.step.cached for event in events if event.HasField("step")][:2] == [True, True]


def test_a_store_belongs_to_its_tenant(fleet, http):
    file = http.post("/v1/files", files={"file": ("a.txt", b"A secret.")}).json()["id"]
    store = http.post("/v1/vector_stores", json={"file_ids": [file]}).json()["id"]
    search = pb.FileSearch(vector_store_ids=[store])
    message = ChatMessage(role=ChatMessage.ROLE_USER, parts=[ContentPart(text="A secret?")])
    request = pb.ChatRequest(messages=[message], file_search=search)
    with grpc.insecure_channel(fleet.address("gateway", "grpc")) as channel:
        stub = GatewayServiceStub(channel)
        *_, last = stub.Chat(request)
        assert last.finished.sources[0].text == "A secret."
        with pytest.raises(grpc.RpcError) as refused:
            list(stub.Chat(request, metadata=[("x-polyphony-tenant", "another")]))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
