"""What the client makes of streams, errors and addresses."""

import httpx
import pytest

from client.blocking import BlockingConnection
from client.connection import Connection
from client.errors import GatewayError

STREAM = b': {"heard": 1}\n\ndata: {"delta": "Fo"}\n\ndata: {"delta": "ur"}\n\ndata: [DONE]\n\n'
FAILED = b'data: {"delta": "Fo"}\n\ndata: {"error": {"message": "the model failed"}}\n\n'
REFUSAL = {"error": {"message": "the image is empty", "param": "messages[0]"}}


def answering(response):
    return httpx.MockTransport(lambda request: response)


def connection(response):
    return Connection(httpx.AsyncClient(base_url="http://gateway", transport=answering(response)), 5.0)


@pytest.fixture
def blocking(monkeypatch):
    def connect(response):
        http = httpx.Client
        monkeypatch.setattr(
            "client.blocking.httpx.Client", lambda **options: http(**options, transport=answering(response))
        )
        return BlockingConnection("http://gateway")

    return connect


async def test_events_are_parsed_as_they_come(blocking):
    expected = [{"delta": "Fo"}, {"delta": "ur"}]
    call = ("POST", "/v1/chat/completions")
    assert [event async for event in connection(httpx.Response(200, content=STREAM)).events(*call)] == expected
    with blocking(httpx.Response(200, content=STREAM)) as web:
        assert list(web.events(*call)) == expected


async def test_an_event_that_is_an_error_is_raised(blocking):
    call = ("POST", "/v1/chat/completions")
    with pytest.raises(GatewayError, match="the model failed"):
        _ = [event async for event in connection(httpx.Response(200, content=FAILED)).events(*call)]
    with blocking(httpx.Response(200, content=FAILED)) as web, pytest.raises(GatewayError, match="the model failed"):
        list(web.events(*call))


async def test_a_refusal_names_its_status_and_field(blocking):
    with pytest.raises(GatewayError, match=r"400: the image is empty \(messages\[0\]\)") as caught:
        await connection(httpx.Response(400, json=REFUSAL)).send("POST", "/v1/vision/read")
    assert caught.value.status_code == 400
    with blocking(httpx.Response(502, content=b"<html>")) as web, pytest.raises(GatewayError, match="502: Bad Gateway"):
        web.send("GET", "/v1/models")


@pytest.mark.parametrize(("url", "expected"), [("http://h:1", "ws://h:1/x?y=z"), ("https://h", "wss://h/x?y=z")])
async def test_a_socket_has_the_scheme_and_the_key_of_its_gateway(url, expected):
    async with Connection.open(url, "secret") as gateway:
        assert gateway.socket("/x?y=z") == (expected, {"authorization": "Bearer secret"})
    async with Connection.open(url) as gateway:
        assert gateway.socket("/x")[1] == {}
