"""Which connections are closed where there are too many, or where their clients do not read."""

import asyncio
import json
import resource
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from gateway.app import build_app
from gateway.http import http_protocol
from gateway.http.connections import DESCRIPTORS_PER_CONNECTION, MAX_READING_AHEAD, Connections
from gateway.http.server import WebServer
from servekit.ops.telemetry import Telemetry
from tests.watching import until

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Client:
    """A connection whose client has not read `unsent` bytes."""

    def __init__(self, unsent=0):
        self.transport, self.unread, self.write_paused = self, 0, bool(unsent)
        self.unsent, self.closed = unsent, ""

    def is_closing(self):
        return False

    def get_write_buffer_size(self):
        return self.unsent

    def close(self):
        self.closed = "closed"

    def abort(self):
        self.closed = "aborted"


@pytest.fixture
def limited(settings):
    return Connections(3, 100, 10, Telemetry(settings))


def test_a_new_connection_replaces_the_one_that_is_idle_longest(limited):
    clients = [Client() for _ in range(5)]
    for count in range(1, 4):
        assert limited.add(clients[count - 1], clients[:count])
    limited.mark_busy(clients[0])
    assert limited.add(clients[3], clients[:4])
    assert [client.closed for client in clients] == ["", "closed", "", "", ""]
    limited.mark_busy(clients[3])
    limited.mark_waiting(clients[3])  # since now, after the third
    assert limited.add(clients[4], [clients[0], *clients[2:]])
    assert [client.closed for client in clients] == ["", "closed", "closed", "", ""]


def test_a_client_that_does_not_read_is_disconnected_for_a_new_connection(limited):
    clients = [Client(), Client(5000), Client(), Client()]
    for count in range(1, 4):
        limited.add(clients[count - 1], clients[:count])
        limited.mark_busy(clients[count - 1])
    limited.mark_waiting(clients[1])
    assert limited.add(clients[3], clients)
    assert [client.closed for client in clients] == ["", "aborted", "", ""]


def test_a_new_connection_is_refused_where_all_others_are_answered(limited):
    clients = [Client() for _ in range(4)]
    for count in range(1, 4):
        limited.add(clients[count - 1], clients[:count])
        limited.mark_busy(clients[count - 1])
    assert not limited.add(clients[3], clients)


def test_a_client_must_read_at_the_pace(limited):
    fast, slow, idle = clients = [Client(5000), Client(5000), Client()]
    for client in clients:
        limited.add(client, clients)
    limited.check()
    fast.unsent, slow.unsent = 4000, 4001
    limited.check()
    assert [client.closed for client in clients] == ["", "aborted", ""]
    assert idle.unread == 0


def test_a_few_connections_read_ahead_until_their_requests_are_whole(limited):
    clients = [Client() for _ in range(MAX_READING_AHEAD + 1)]
    assert [limited.may_read_ahead(client) for client in clients] == [True] * MAX_READING_AHEAD + [False]
    limited.mark_busy(clients[0])
    assert limited.may_read_ahead(clients[-1])


def test_the_limit_leaves_descriptors_to_the_process(settings):
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert Connections(10**9, 1, 1, Telemetry(settings)).limit == descriptors // DESCRIPTORS_PER_CONNECTION


@pytest.fixture
async def listen(build):
    """Starts a gateway with these settings and returns its state and port."""
    async with AsyncExitStack() as stack:

        async def start(**changes):
            state = build(http_port=0, drain_timeout_seconds=1, **changes)
            web = WebServer(build_app(state), state.settings, state.telemetry)
            await web.start()
            stack.push_async_callback(web.stop)
            return state, web.port

        yield start


@asynccontextmanager
async def connected(port, sent=b"", **options):
    """A connection whose client has sent `sent`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    writer.write(sent)
    try:
        yield reader
    finally:
        writer.close()


async def answer(reader):
    """The status and the JSON of a response."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split()[1]), json.loads(await reader.readexactly(int(length.split()[1])))


async def test_slow_clients_lose_their_connections_to_a_new_client(listen):
    _, port = await listen(max_http_connections=4)
    starts = [
        b"",
        b"GET /healthz HTT",
        b"POST /v1/vision/read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx",
        b"GET ",
    ]
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(connected(port, start)) for start in starts]
        for _ in range(8):
            async with connected(port, HEALTH) as reader:
                assert (await answer(reader))[0] == 200
        assert await slow[0].read() == b""


async def test_a_client_is_refused_while_all_others_are_answered(listen, orders):
    orders.seconds["token"] = 60
    state, port = await listen(max_http_connections=2)
    async with asyncio.timeout(20), httpx.AsyncClient(timeout=60) as http:
        asking = [asyncio.create_task(http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT))]
        asking.append(asyncio.create_task(http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=CHAT)))
        await until(lambda: len(orders.requests("GenerateText")) == 2)
        async with connected(port) as reader:
            status, body = await answer(reader)
            assert (status, body["error"]["code"]) == (503, "unavailable")
            assert await reader.read() == b""
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    count = state.telemetry.registry.get_sample_value
    assert count("polyphony_http_closed_connections_total", {"reason": "refused"}) == 1


async def test_a_client_that_never_reads_its_answer_is_disconnected(listen, orders):
    state, port = await listen(transfer_grace_seconds=0.2)
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}/v1/files"
        file = (await http.post(url, files={"file": ("a", bytes(32 << 20))})).json()["id"]
    request = f"GET /v1/files/{file}/content HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    count = state.telemetry.registry.get_sample_value
    async with asyncio.timeout(20), connected(port, request, limit=1):  # it reads no further than it must
        await until(lambda: count("polyphony_http_closed_connections_total", {"reason": "unread"}))
        await until(lambda: not count("polyphony_http_connections"))


async def test_clients_that_do_not_read_lose_their_connections_to_a_new_client(listen):
    state, port = await listen(max_http_connections=2)
    async with httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{port}/v1/files"
        file = (await http.post(url, files={"file": ("a", bytes(32 << 20))})).json()["id"]
    request = f"GET /v1/files/{file}/content HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    count = state.telemetry.registry.get_sample_value
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        for _ in range(2):
            reader = await stack.enter_async_context(connected(port, request, limit=1))
            await reader.readexactly(1)
            await asyncio.sleep(0.5)  # until the buffers of the socket are full
        async with connected(port, HEALTH) as reader:
            assert (await answer(reader))[0] == 200
        assert count("polyphony_http_closed_connections_total", {"reason": "idle"}) >= 1


async def test_the_rest_of_a_body_is_not_waited_for(listen, monkeypatch):
    monkeypatch.setattr(http_protocol, "REST_SECONDS", 0.2)
    _, port = await listen()
    head = b"POST /v1/vision/read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999999999\r\n\r\n"
    async with asyncio.timeout(20), connected(port, head) as reader:
        assert (await answer(reader))[0] == 413
        assert await reader.read() == b""


async def test_a_connection_is_kept_for_the_next_request(listen, monkeypatch):
    monkeypatch.setattr(http_protocol, "REST_SECONDS", 0.0)
    _, port = await listen(max_http_connections=1)
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            writer.write(HEALTH)
            assert (await answer(reader))[0] == 200
            await asyncio.sleep(0.01)
        writer.close()


async def test_a_pipelined_body_may_arrive_after_the_earlier_answer(listen, monkeypatch):
    monkeypatch.setattr(http_protocol, "REST_SECONDS", 0.0)
    _, port = await listen()
    head = b"POST /v1/vision/read HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n"
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEALTH + head + b"x")
        assert (await answer(reader))[0] == 200
        await asyncio.sleep(0.05)
        writer.write(b"x")
        assert (await answer(reader))[0] == 200
        writer.close()


async def test_a_connection_whose_body_ended_after_its_answer_is_idle(listen):
    _, port = await listen(max_http_connections=2)
    head = b"POST /v1/nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n"
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        for _ in range(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            writer.write(head)
            assert (await answer(reader))[0] == 404
            writer.write(b"x" + HEALTH)  # the next request shows that the rest has been read
            assert (await answer(reader))[0] == 200
            writer.write(head)
            assert (await answer(reader))[0] == 404
            writer.write(b"x")
        await asyncio.sleep(0.05)
        for _ in range(3):
            async with connected(port, HEALTH) as reader:
                assert (await answer(reader))[0] == 200
        assert await reader.read() == b""


async def test_a_download_ends_when_its_client_disconnects(listen, monkeypatch):
    state, port = await listen()
    file = await state.files.receive("default", chunks_of(b"x"), "a", "")
    await state.records.finish_upload("default", file)

    async def endless(*_):
        while True:
            yield b"x"
            await asyncio.sleep(0.001)

    monkeypatch.setattr(type(state.store), "stream", endless)
    request = f"GET /v1/files/{file.id}/content HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
    count = state.telemetry.registry.get_sample_value
    labels = {"method": "GET /v1/files/{file_id}/content"}
    async with asyncio.timeout(20):
        async with connected(port, request) as reader:
            await reader.readuntil(b"x")
            assert count("polyphony_requests_in_flight", labels) == 1
        await until(lambda: not count("polyphony_requests_in_flight", labels))


async def chunks_of(*chunks):
    for chunk in chunks:
        yield chunk
