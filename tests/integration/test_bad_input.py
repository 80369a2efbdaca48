"""Whatever is sent: a 4xx that names the field, within a second, and nobody else notices."""

import base64
import io
import struct
import time
import zlib

import psutil
import pytest
from PIL import Image

from tests.integration.conftest import picture, recording

CHAT, READ, HEAR = "/v1/chat/completions", "/v1/vision/read", "/v1/audio/transcriptions"
IS_JSON = {"content-type": "application/json"}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png():
    """30,000 x 30,000 black pixels in a few hundred kilobytes."""
    rows = zlib.compress(bytes(30_001) * 3000, 1)
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def animated_bomb():
    """A GIF of very many small frames on a canvas of 60,000 x 60,000."""
    file = io.BytesIO()
    frames = [Image.new("L", (8, 8), shade) for shade in range(256)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:] * 8)
    gif = bytearray(file.getvalue())
    gif[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(gif)


def said(text, **more):
    return {"json": {"messages": [{"role": "user", "content": text}], **more}}


def shown(url):
    return said([{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}])


URL = "messages[0].content[0].image_url.url"
CASES = {
    "not an image": (READ, {"content": b"no picture at all"}, 415, "body"),
    "a truncated image": (READ, {"content": picture()[:-400]}, 415, "body"),
    "an image of 30,000 x 30,000": (READ, {"content": huge_png()}, 413, "body"),
    "an animated bomb": (READ, {"content": animated_bomb()}, 413, "body"),
    "an empty image": (READ, {"content": b""}, 400, "body"),
    "an image over the limit": (READ, {"content": bytes((4 << 20) + 1)}, 413, "body"),
    "a text as a recording": (HEAR, {"files": {"file": ("a.wav", b"A text. " * 100)}}, 415, "file"),
    "an empty recording": (HEAR, {"files": {"file": ("a.wav", b"")}}, 400, "file"),
    "a language that is none": (
        HEAR,
        {"files": {"file": ("a.wav", recording())}, "data": {"language": "klingon"}},
        400,
        "language",
    ),
    "what is not JSON": (CHAT, {"content": b'{"messages": [', "headers": IS_JSON}, 400, "body"),
    "JSON nested 100,000 deep": (CHAT, {"content": b"[" * 100_000, "headers": IS_JSON}, 400, "body"),
    "JSON declared as a form": (CHAT, {"data": {"messages": "Hi"}}, 415, "content-type"),
    "an unknown model": (CHAT, said("Hi", model="gpt-99"), 404, "model"),
    "an unknown role": (CHAT, {"json": {"messages": [{"role": "king", "content": "Hi"}]}}, 400, "messages[0].role"),
    "an unknown format": (CHAT, said("Hi", response_format={"type": "xml"}), 400, "response_format.type"),
    "a temperature of 9": (CHAT, said("Hi", temperature=9), 400, "temperature"),
    "a prompt of 1e6 characters": (CHAT, said("word " * 200_000), 413, "messages"),
    "a prompt beyond the window": (CHAT, said("word " * 20_000), 413, "messages"),
    "a seed beyond 64 bits": (CHAT, said("Hi", seed=2**63), 400, "seed"),
    "more tokens than 32 bits count": (CHAT, said("Hi", max_tokens=2**40), 400, "max_tokens"),
    "very many turns": (CHAT, {"json": {"messages": [{"role": "user", "content": ""}] * 20_000}}, 400, "messages"),
    "very many parts": (CHAT, said([{"type": "text", "text": ""}] * 20_000), 400, "messages[0].content"),
    "a form of very many fields": (
        "/v1/files",
        {"files": [(f"k{number}", (None, b"v")) for number in range(100)]},
        413,
        "k64",
    ),
    "a schema that is none": (
        CHAT,
        said("Hi", response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": "number"}}),
        400,
        "response_format.json_schema.schema",
    ),
    "a file of the machine": (CHAT, shown("file:///etc/passwd"), 400, URL),
    "a private address": (CHAT, shown("http://127.0.0.1:9150/metrics"), 400, URL),
    "the cloud's metadata": (CHAT, shown("http://169.254.169.254/latest/meta-data/"), 400, URL),
    "a data URL of nonsense": (CHAT, shown("data:image/png;base64,????"), 400, URL),
    "a data URL of no image": (CHAT, shown("data:image/png;base64," + base64.b64encode(b"x").decode()), 415, URL),
    "a voice that is none": ("/v1/audio/speech", {"json": {"input": "Hi", "voice": "nobody"}}, 404, "voice"),
    "tokens to embed": ("/v1/embeddings", {"json": {"input": [1, 2, 3]}}, 400, "input"),
    "nothing to embed": ("/v1/embeddings", {"json": {"input": [""]}}, 400, "input[0]"),
    "a store that is none": ("/v1/vector_stores/vs_none/search", {"json": {"query": "x"}}, 404, "vector_store_id"),
    "a file of a broken form": (
        "/v1/files",
        {"content": b"--b\r\nhalf", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        400,
        "body",
    ),
}


@pytest.mark.serial
@pytest.mark.parametrize("case", CASES)
def test_invalid_input_is_rejected_within_a_second(http, case):
    path, arguments, status, param = CASES[case]
    began = time.monotonic()
    response = http.post(path, **arguments)
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param, response.text
    assert time.monotonic() - began < 1


def test_a_header_that_claims_ten_hours_is_ignored(http):
    sound = bytearray(recording())
    sound[40:44] = struct.pack("<I", 10 * 3600 * 32_000)
    response = http.post(HEAR, files={"file": ("a.wav", bytes(sound))})
    assert response.json()["usage"]["seconds"] == pytest.approx(1.0, abs=0.05)


def test_memory_does_not_grow_over_twenty_invalid_requests(fleet, http):
    def round_of_all():
        for path, arguments, status, _ in CASES.values():
            assert http.post(path, **arguments).status_code == status

    pids = {name: row["pid"] for name, row in fleet.status().items() if name != "supervisor"}
    for _ in range(3):
        round_of_all()
    before = {name: psutil.Process(pid).memory_info().rss for name, pid in pids.items()}
    for _ in range(20):
        round_of_all()
    grown = {name: (psutil.Process(pid).memory_info().rss - before[name]) / 2**20 for name, pid in pids.items()}
    assert max(grown.values()) < 50, grown
    assert http.post(READ, content=picture()).status_code == 200
