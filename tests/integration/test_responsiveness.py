"""No request of a permitted size holds the event loop of the gateway, whatever it is made of."""

import base64
import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Opcode
from websockets.sync.client import ClientConnection, connect

from tests.watching import responsive

CHAT, READ, FILES = "/v1/chat/completions", "/v1/vision/read", "/v1/files"
MIB = 1 << 20
HI = {"messages": [{"role": "user", "content": "Hi"}]}
FORM = {"content-type": "multipart/form-data; boundary=b"}


@pytest.fixture(autouse=True)
def responsive_to_each(gateway_metrics, request) -> Iterator[None]:
    with responsive(gateway_metrics, request.node.name):
        yield


@pytest.fixture
def live(http) -> Iterator[ClientConnection]:
    with connect(f"ws://{http.base_url.netloc.decode()}/v1/realtime", max_size=None) as ws:
        yield ws


def as_json(value, **more):
    return json.dumps(value | more).encode()


def said(text):
    return b'{"messages":[{"role":"user","content":"' + text + b'"}]}'


def seen(*sizes):
    images = [f"data:image/png;base64,{base64.b64encode(os.urandom(size)).decode()}" for size in sizes]
    return as_json({"messages": [{"role": "user", "content": [image_part(image) for image in images]}]})


def image_part(url):
    return {"type": "image_url", "image_url": {"url": url}}


def schema(text):
    return (
        as_json(HI)[:-1]
        + b',"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"a":['
        + text
        + b"0]}}}}"
    )


BODIES = {
    "metadata keys": (CHAT, lambda: as_json(HI)[:-1] + b',"metadata":{' + b'"k":"",' * 6_000_000 + b'"k":""}}', 413),
    "metadata keys of 1 MB": (CHAT, lambda: as_json(HI, metadata=dict.fromkeys(map(str, range(80_000)), "")), 400),
    "a schema of numbers": (CHAT, lambda: schema(b"0," * 10_000_000), 413),
    "a schema of arrays of 1 MB": (CHAT, lambda: schema(b"[]," * 330_000), 413),
    "messages": (CHAT, lambda: as_json({"messages": HI["messages"] * 1_000_000}), 413),
    "a text": (CHAT, lambda: said(b"a word " * 6_000_000), 413),
    "a text of one word": (CHAT, lambda: said(b"a" * 40_000_000), 413),
    "a text of 8 MB": (CHAT, lambda: said(b"a word " * 1_100_000), 413),
    "escapes": (CHAT, lambda: said(b"\\n" * 20_000_000), 413),
    "escapes of 8 MB": (CHAT, lambda: said(b"\\n" * 4_000_000), 413),
    "UTF-8": (CHAT, lambda: said("ü".encode() * 20_000_000), 413),
    "UTF-8 of 8 MB": (CHAT, lambda: said("ü".encode() * 4_000_000), 413),
    "invalid UTF-8": (CHAT, lambda: said(b"a word " * 1_000_000 + b"\xff"), 400),
    "space": (CHAT, lambda: b'{"messages":' + b" " * 40_000_000 + b"[]}", 413),
    "an image": (CHAT, lambda: seen(30 * MIB), 413),
    "two images": (CHAT, lambda: seen(3 * MIB, 3 * MIB), 415),
    "invalid base64": (CHAT, lambda: seen(30 * MIB).replace(b'"}}', b'?"}}'), 400),
    "a model's name": (CHAT, lambda: as_json(HI, model="m" * 40_000_000), 413),
    "numbers to embed": ("/v1/embeddings", lambda: as_json({"input": [0] * 300_000}), 413),
    "texts to embed": ("/v1/embeddings", lambda: as_json({"input": ["a b c d e " * 45] * 2048}), 200),
    "an upload": (READ, lambda: os.urandom(4 * MIB), 415),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_large_body_does_not_hold_the_event_loop(http, case):
    path, content, status = BODIES[case]
    kind = "image/png" if path == READ else "application/json"
    response = http.post(path, content=content(), headers={"content-type": kind})
    assert response.status_code == status, response.text[:300]


def part(name, text=b"x"):
    return b'--b\r\ncontent-disposition: form-data; name="' + name + b'"\r\n\r\n' + text + b"\r\n"


FORMS = {
    "parts": (part(b"a") * 300_000, 413),
    "headers": (b"--b\r\n" + b"a: b\r\n" * 1_000_000, 400),
    "one header": (b"--b\r\ncontent-disposition: " + b"x" * 10_000_000, 400),
    "fields": (part(b"a", b"x" * 65_000) * 60, 413),
    "line ends": (part(b'file"; filename="a', b"\r\n--" * 5_000_000) + b"--b--\r\n", 200),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_large_form_does_not_hold_the_event_loop(http, case):
    content, status = FORMS[case]
    response = http.post(FILES, content=content, headers=FORM)
    assert response.status_code == status, response.text[:300]


@contextmanager
def connection(http) -> Iterator[socket.socket]:
    address = urlsplit(str(http.base_url))
    with socket.create_connection((address.hostname, address.port), timeout=60) as raw:
        yield raw


CHUNKED = b"POST %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: %s\r\n"
ENCODING = b"transfer-encoding: chunked\r\n\r\n"
STREAMS = {
    "chunks of a byte": (
        CHUNKED % (READ.encode(), b"image/png") + ENCODING + b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n",
        b"HTTP/1.1 415",
    ),
    "chunks of a byte of JSON": (
        CHUNKED % (CHAT.encode(), b"application/json") + ENCODING + b"1\r\n \r\n" * 2_000_000 + b"0\r\n\r\n",
        b"HTTP/1.1 400",
    ),
    "pipelined requests": (b"GET / HTTP/1.1\r\n\r\n" * 100_000, b""),  # closed: the answer may not arrive
    "headers": (b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 100_000, b""),
}


@pytest.mark.parametrize("case", STREAMS)
def test_many_small_pieces_do_not_hold_the_event_loop(http, case):
    sent, answer = STREAMS[case]
    received = b""
    with connection(http) as raw, suppress(ConnectionError):
        raw.sendall(sent)
        while data := raw.recv(MIB):
            received += data
    assert received.startswith(answer)


def frame(opcode, data=b"", *, fin=True):
    return bytes([fin << 7 | opcode, 0x80 | len(data)]) + bytes(4) + data


FRAMES = {
    "empty fragments": frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * 200_000,
    "fragments of a byte": frame(Opcode.BINARY, fin=False) + frame(Opcode.CONT, b"x", fin=False) * 170_000,
    "pings": frame(Opcode.PING) * 200_000,
    "pongs": frame(Opcode.PONG, b"x" * 100) * 10_000,
    "messages of a byte": frame(Opcode.TEXT, b"x") * 10_000 + frame(Opcode.CLOSE),
    "empty audio": frame(Opcode.BINARY) * 10_000 + frame(Opcode.CLOSE),
}


@pytest.mark.parametrize("case", FRAMES)
def test_many_websocket_frames_do_not_hold_the_event_loop(live, case):
    with suppress(ConnectionError):
        live.socket.sendall(FRAMES[case])
    with suppress(ConnectionClosed):
        while True:
            live.recv(60)


def test_large_websocket_messages_do_not_hold_the_event_loop(live):
    transcription = {"keywords": ["a"] * 170_000}
    keywords = {"type": "session.update", "session": {"audio": {"input": {"transcription": transcription}}}}
    audio = {"type": "input_audio_buffer.append", "audio": base64.b64encode(bytes(700_000)).decode()}
    for event in (audio, audio, keywords, audio, {"type": "input_audio_buffer.clear"}):
        live.send(json.dumps(event))
    while json.loads(live.recv(60))["type"] != "input_audio_buffer.cleared":
        pass


def test_concurrent_scrapes_do_not_hold_the_event_loop(gateway_metrics, http):
    ways = [f"http://{gateway_metrics}/metrics", f"{http.base_url}/metrics"]
    with httpx.Client(timeout=60) as scraper, ThreadPoolExecutor(32) as pool:
        assert set(pool.map(lambda number: scraper.get(ways[number % 2]).status_code, range(200))) == {200}
