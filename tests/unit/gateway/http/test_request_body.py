"""Request bodies in memory and on disk, and the budgets that they count against."""

import asyncio
import json
import os
import re
import threading
from dataclasses import replace
from functools import partial

import pytest
from starlette.requests import Request
from starlette.responses import Response

from gateway.app import build_app
from gateway.budget import SMALL_BYTES
from gateway.http.endpoint import SLICE_BYTES, Endpoint, Operation
from gateway.http.request_body import MEMORY_BYTES, RequestBody
from gateway.http.server import WebServer
from servekit.errors import Overloaded, Unavailable
from tests.watching import until

from ..media.fetching import fetcher, fixed, response, serving

MIB = 1 << 20
CHAT = b'{"messages": [{"role": "user", "content": "Hi"}]}'


def held(state, place):
    return state.telemetry.registry.get_sample_value("polyphony_request_body_bytes", {"place": place}) or 0.0


def request_of(content):
    """A request with this body."""

    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    return Request({"type": "http", "headers": []}, receive)


def post_chat(http, size=0):
    """A chat request, filled up to `size` bytes."""
    body = CHAT + b" " * (size - len(CHAT))
    return http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("size", "counted"), [(SMALL_BYTES, 0), (SMALL_BYTES + 1, SMALL_BYTES + 1), (MEMORY_BYTES + 1, MEMORY_BYTES + 1)]
)
async def test_a_body_counts_until_its_request_ends(http, state, orders, size, counted):
    orders.seconds["token"] = 60
    asking = asyncio.create_task(post_chat(http, size))
    await asyncio.wait_for(orders.arrived["token"].wait(), 20)
    assert (held(state, "memory"), held(state, "disk")) == (counted, 0)
    orders.seconds["token"] = 0
    asking.cancel()
    await asyncio.wait([asking])
    assert held(state, "memory") == 0


async def test_a_large_body_is_on_disk_while_it_arrives(http, state):
    seen, size = [], 3 * MIB

    async def body():
        for _ in range(size // MIB):
            yield bytes(MIB)
            await asyncio.sleep(0)
            seen.append((held(state, "memory"), held(state, "disk")))

    response = await http.post("/v1/vision/read", content=body())
    assert response.status_code == 200
    assert seen[-1][0] == 0
    assert seen[-1][1] >= 2 * MIB
    assert (held(state, "memory"), held(state, "disk")) == (0, 0)


async def test_a_body_is_received_on_disk_where_memory_is_short(http, state, orders):
    state.body_budgets.memory.try_acquire("other", 100 * MIB)
    assert (await post_chat(http, 200_000)).status_code == 200
    assert held(state, "memory") == 100 * MIB


@pytest.mark.parametrize("place", ["memory", "disk"])
async def test_a_body_that_finds_no_room_gets_429(http, state, place, monkeypatch):
    monkeypatch.setattr("gateway.budget.WAIT_SECONDS", 0.01)
    budget = getattr(state.body_budgets, place)
    whole = 128 * MIB if place == "memory" else 2048 * MIB
    budget.try_acquire("other", whole)
    response = await post_chat(http, 2 * MIB)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "overloaded")
    assert response.headers["retry-after"] == "1"
    assert (await post_chat(http)).status_code == 200
    budget.release("other", whole)
    assert (held(state, "memory"), held(state, "disk")) == (0, 0)
    assert (await post_chat(http, 2 * MIB)).status_code == 200


async def test_a_full_disk_refuses_large_bodies_only(http, state, monkeypatch):
    real = os.fstatvfs
    monkeypatch.setattr(os, "fstatvfs", lambda file: os.statvfs_result([*real(file)[:3], 0, 0, *real(file)[5:]]))
    response = await post_chat(http, 2 * MIB)
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert (await post_chat(http, MIB)).status_code == 200
    assert held(state, "disk") == 0


async def test_a_folder_that_cannot_be_used_is_unavailable(build):
    state = build()
    folder = state.body_budgets.folder / "file" / "below"
    folder.parent.write_bytes(b"")
    body = RequestBody(request_of(bytes(2 * MIB)), replace(state.body_budgets, folder=folder), "a", state.settings)
    with pytest.raises(Unavailable):
        await anext(body.stream(3 * MIB))
    body.close()
    assert held(state, "disk") == 0


async def test_a_file_is_closed_after_a_cancelled_write_has_ended(state, monkeypatch):
    writing, may_write, closed = threading.Event(), threading.Event(), []

    def write(file, _):
        writing.set()
        may_write.wait(10)
        closed.append(file.closed)

    monkeypatch.setattr("gateway.http.request_body._write_all", write)
    body = RequestBody(request_of(bytes(2 * MIB)), state.body_budgets, "a", state.settings)
    receiving = asyncio.ensure_future(anext(body.stream(3 * MIB)))
    await until(writing.is_set)
    receiving.cancel()
    await asyncio.wait([receiving])
    body.close()
    await asyncio.sleep(0.05)
    may_write.set()
    await until(lambda: closed)
    assert closed == [False]


async def test_the_temporary_files_have_no_names(http, settings):
    assert (await http.post("/v1/vision/read", content=bytes(2 * MIB))).status_code == 200
    assert [path for path in (settings.home / "data").iterdir() if path.name != "objects"] == []


async def test_a_client_that_sends_too_slowly_gets_408(build):
    state = build(http_port=0, transfer_grace_seconds=0.3)
    web = WebServer(build_app(state), state.settings, state.telemetry)
    await web.start()

    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        writer.write(b"content-length: 1000\r\n\r\n")
        while not reader._buffer:  # nothing is answered yet
            writer.write(b" ")
            await asyncio.sleep(0.05)
        head = await reader.readuntil(b"\r\n\r\n")
        error = json.loads(await reader.readexactly(int(re.search(rb"content-length: (\d+)", head)[1])))["error"]
        writer.close()
    await web.stop()
    assert (head.split()[1], error["code"]) == (b"408", "timeout")
    assert "1024 bytes per second" in error["message"]


async def test_a_large_answer_counts_until_its_client_has_read_it(state):
    seen, size, read = [], 200_000, asyncio.Event()

    async def handler(context):
        return Response(bytes(size))

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        seen.append(len(message.get("body", b"")))
        if seen[-1]:
            await read.wait()

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    answering = asyncio.create_task(Endpoint(Operation("GET", "/", "get", handler, ""), state)(scope, receive, send))
    await until(lambda: len(seen) == 2)
    assert (seen, held(state, "memory")) == ([0, SLICE_BYTES], size)
    read.set()
    await answering
    assert (sum(seen), max(seen), held(state, "memory")) == (size, SLICE_BYTES, 0)


async def test_media_that_are_fetched_count_while_they_arrive(state):
    memory = state.body_budgets.memory
    fetch = partial(fetcher(max_bytes=1 << 20, memory=memory).fetch, field="image")
    async with serving(fixed(response(bytes(100_000)))) as url:
        memory.try_acquire("other", 128 * MIB - 99_999)
        with pytest.raises(Overloaded):
            await fetch(url)
        memory.release("other", 1)
        assert len((await fetch(url))[0]) == 100_000
    assert held(state, "memory") == 128 * MIB - 100_000
