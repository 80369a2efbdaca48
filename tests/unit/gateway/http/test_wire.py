"""Over a real socket: clients that leave, bodies that do not end, and the official client."""

import asyncio
import json
import re
import time

import httpx
import openai
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.app import build_app
from gateway.http import http_protocol, responses
from gateway.http.forms import Form
from gateway.http.http_protocol import HEAD_SECONDS
from gateway.http.server import WebServer
from gateway.routes.health import Alive
from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import FailedPrecondition


@pytest.fixture
async def address(build):
    """A listening gateway's address."""
    state = build(
        http_port=0, max_chat_body_bytes=1 << 20, max_image_bytes=1 << 20, max_file_bytes=1 << 20,
        drain_timeout_seconds=1, default_timeout_seconds=60,
    )  # fmt: skip
    web = WebServer(build_app(state), state.settings, state.telemetry)
    await web.start()
    yield f"http://127.0.0.1:{web.port}"
    await web.stop()


@pytest.fixture
async def client(address):
    async with openai.AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("stream", [False, True])
async def test_a_disconnect_cancels_the_work(address, orders, stream):
    orders.seconds["token"] = 30
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    async with httpx.AsyncClient() as http:
        asking = asyncio.create_task(http.post(f"{address}/v1/chat/completions", json=body))
        await orders.arrived["token"].wait()
        asking.cancel()
        await asyncio.wait_for(orders.left.wait(), 20)
    assert orders.cancelled == ["token"]


async def test_a_disconnect_cancels_reading_an_image(address, orders):
    orders.seconds["ReadText"] = 30
    async with httpx.AsyncClient() as http:
        asking = asyncio.create_task(http.post(f"{address}/v1/vision/read", content=b"x" * 1000))
        await orders.arrived["ReadText"].wait()
        asking.cancel()
        await asyncio.wait_for(orders.left.wait(), 20)
    assert orders.cancelled == ["ReadText"]


@pytest.mark.parametrize("path", ["/v1/vision/read", "/v1/chat/completions"])
@pytest.mark.parametrize("stated", [True, False])
async def test_a_body_over_the_limit_is_refused_at_once(address, path, stated):
    """The rest of it is never sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    size = "content-length: 65536000" if stated else "transfer-encoding: chunked"
    content_type = "image/png" if path == "/v1/vision/read" else "application/json"
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n{size}\r\n\r\n"
    writer.write(head.encode())
    if not stated:
        writer.write((b"10000\r\n" + bytes(1 << 16) + b"\r\n") * 32)
    async with asyncio.timeout(20):
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1]))
    assert (head.split()[1], json.loads(body)["error"]["code"]) == (b"413", "too_large")
    writer.close()


async def test_a_form_that_never_ends_is_bounded(address):
    async def endless():
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(1000):
            yield bytes(1 << 16)

    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{address}/v1/files", content=endless(), headers=headers)
    assert (response.status_code, response.json()["error"]["param"]) == (413, "file")


async def test_a_taken_port_is_a_clear_error(address, build):
    port = int(address.rpartition(":")[2])
    state = build(http_port=port)
    with pytest.raises(FailedPrecondition, match=f"cannot listen on 127.0.0.1:{port}"):
        await WebServer(build_app(state), state.settings, state.telemetry).start()


async def test_the_official_client(client, orders):
    assert "fake-reader" in [model.id async for model in client.models.list()]
    answer = await client.chat.completions.create(model="fake-generator", messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content == "It is 42."
    assert answer.model_extra["polyphony"]["prompt_version"] == "chat-1"
    stream = await client.chat.completions.create(
        model="fake-generator",
        messages=[{"role": "user", "content": "Hi"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "It is 42."
    assert chunks[-1].usage.total_tokens == 9
    spoken = await client.audio.speech.create(model="fake-synthesizer", voice="default", input="Hello")
    assert spoken.content == b"Hello"
    words = await client.audio.transcriptions.create(model="fake-transcriber", file=("a.wav", b"sound"))
    assert words.text == "What is the total?"
    verbose = await client.audio.transcriptions.create(
        model="fake-transcriber",
        file=("a.wav", b"sound"),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    assert verbose.segments[0].text == "What is the total?"
    vectors = await client.embeddings.create(model="fake-embedder", input=["a", "abc"])
    assert [row.embedding for row in vectors.data] == [[1, 1], [3, 1]]


async def test_the_official_client_searches_a_vector_store(client):
    file = await client.files.create(file=("bill.txt", b"The bill is 42 euros."), purpose="assistants")
    store = await client.vector_stores.create(name="bills")
    attached = await client.vector_stores.files.create_and_poll(file_id=file.id, vector_store_id=store.id)
    assert attached.status == "completed"
    found = await client.vector_stores.search(store.id, query="What is the bill?", max_num_results=2)
    assert [(row.file_id, row.content[0].text) for row in found.data] == [(file.id, "The bill is 42 euros.")]
    assert (await client.vector_stores.retrieve(store.id)).file_counts.completed == 1
    assert [row.id async for row in client.files.list()] == [file.id]
    assert (await client.files.content(file.id)).content == b"The bill is 42 euros."
    assert (await client.vector_stores.delete(store.id)).deleted
    assert (await client.files.delete(file.id)).deleted


async def test_the_openai_client_raises_its_own_errors(client):
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="none", messages=[{"role": "user", "content": "Hi"}])
    assert (missing.value.param, missing.value.code) == ("model", "not_found")
    assert missing.value.request_id


async def test_a_stream_ends_though_its_client_has_stopped_reading(monkeypatch):
    monkeypatch.setattr(responses, "CLOSE_SECONDS", 0.05)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.05)))
    began = time.monotonic()
    sent = []

    async def events():
        yield Alive()
        await asyncio.sleep(30)

    async def send(message):
        if len(sent) == 2:
            await asyncio.Event().wait()
        sent.append(message)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(responses.EventStream(events())({}, None, send), 20)
    assert time.monotonic() - began < 10
    assert len(sent) == 2


async def closed(address, *pieces, seconds=HEAD_SECONDS / 2):
    """Whether the gateway hangs up on what is sent, by default before it would for lateness."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    try:
        async with asyncio.timeout(seconds):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            await reader.read()
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    finally:
        writer.close()
    return True


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nx: ", b"POST /docs HTTP/1.1\r\nhost: localhost\r\n"])
async def test_a_head_that_does_not_end_is_bounded(address, start):
    assert await closed(address, start, *[b"a" * 16384] * 64)


async def test_a_head_that_is_late_is_not_waited_for(address, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)
    assert await closed(address, seconds=20)
    assert await closed(address, b"GET / HTTP/1.1\r\n", seconds=20)


async def test_headers_are_bounded(address, monkeypatch):
    kept, on_header = [], HttpToolsProtocol.on_header

    def counted(self, name, value):
        kept.append(name)
        on_header(self, name, value)

    monkeypatch.setattr(HttpToolsProtocol, "on_header", counted)
    assert await closed(address, b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 10_000)
    assert len(kept) == http_protocol.MAX_HEADERS


async def test_pipelined_requests_are_bounded(address, orders):
    orders.seconds["ReadText"] = 30
    one = b"POST /v1/vision/read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx"
    assert await closed(address, *[one * 100] * 8)


async def test_the_chunks_of_a_body_are_passed_on_together(address, monkeypatch):
    """Each was appended to the body on its own, which copied the body."""
    passed, on_body = [], HttpToolsProtocol.on_body

    def counted(self, body):
        passed.append(len(body))
        on_body(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", counted)
    head = (
        b"POST /v1/vision/read HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
    writer.write(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")
    async with asyncio.timeout(20):
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert sum(passed) == 100_000
    assert len(passed) < 1000


async def test_pipelined_requests_beyond_the_limit_are_not_parsed(address, monkeypatch):
    begun, on_message_begin = [], HttpToolsProtocol.on_message_begin

    def counted(self):
        begun.append(self)
        on_message_begin(self)

    monkeypatch.setattr(HttpToolsProtocol, "on_message_begin", counted)
    assert await closed(address, b"GET / HTTP/1.1\r\n\r\n" * 10_000)
    assert len(begun) <= http_protocol.MAX_PIPELINED + 2


async def test_parts_beyond_the_limit_are_not_parsed(address, monkeypatch):
    """One read brings thousands of them."""
    begun, part = [], Form._begin

    def counted(self):
        begun.append(self)
        part(self)

    monkeypatch.setattr(Form, "_begin", counted)
    body = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx\r\n' * 15_000
    headers = {"content-type": "multipart/form-data; boundary=b"}
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{address}/v1/files", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["message"]) == (413, "the form must have at most 64 parts")
    assert len(begun) < 2000
