"""Large JSON bodies: media are decoded while they arrive, and what would stop the event loop is refused."""

import base64
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from gateway.app import build_app
from gateway.chunks import PIECE_BYTES
from gateway.http import large_json
from gateway.http.bodies import MAX_NESTED, decode
from gateway.http.large_json import MAX_TOKENS, MEDIA_BYTES, REST_BYTES, LargeJson
from gateway.schemas.media_text import MediaText
from servekit.errors import InvalidArgument, ServeError, TooLarge


class Picture(Struct):
    url: MediaText
    note: str = ""


class Request(Struct):
    pictures: list[Picture] = []
    text: str = ""


def parsed(data, size=PIECE_BYTES):
    """The body as a struct, parsed in pieces of this size."""
    body = LargeJson()
    for start in range(0, len(data), size):
        body.feed(data[start : start + size])
    body.end()
    request = decode(body.rest, Request, body.media)
    body.check_all_used()
    return request


def plain(request):
    """A request as values that can be compared."""
    pictures = [
        (row.url.text, row.url.content if row.url.content is None else b"".join(row.url.content), row.url.error)
        for row in request.pictures
    ]
    return pictures, [row.note for row in request.pictures], request.text


URLS = st.binary(max_size=200).map(lambda data: "data:image/png;base64," + base64.b64encode(data).decode())
TEXTS = st.text(st.sampled_from('ab "\\[{,ü/='), max_size=40)


@given(
    st.lists(st.tuples(URLS | TEXTS, TEXTS), max_size=3),
    TEXTS,
    st.integers(1, 64),
    st.booleans(),
    st.sampled_from([None, 2]),
)
def test_the_decoded_request_does_not_depend_on_the_pieces_it_arrives_in(pictures, text, size, escaped, indent):
    request = {"pictures": [{"url": url, "note": note} for url, note in pictures], "text": text}
    data = json.dumps(request, indent=indent).encode()
    if escaped:  # as PHP writes it
        data = data.replace(b"/", b"\\/")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_json, "MEDIA_BYTES", 50)
        found = parsed(data, size)
    for (url, _), row in zip(pictures, found.pictures, strict=True):
        if row.url.content is not None:
            head, _, encoded = url.rpartition(",")
            sent = url.replace("/", "\\/") if escaped else url
            assert (row.url.text, len(sent) > 50) == (f"{head}," if head else "", True)
            assert b"".join(row.url.content) == base64.b64decode(encoded)
        else:
            assert row.url.text == url
    assert [row.note for row in found.pictures] == [note for _, note in pictures]
    assert found.text == text


def test_the_head_of_a_large_data_url_is_decoded_as_json():
    encoded = b"A" * (MEDIA_BYTES + 4)
    for head in (rb"image\/png", rb"image\u002fpng"):
        request = parsed(b'{"pictures": [{"url": "data:%s;base64,%s"}]}' % (head, encoded))
        assert request.pictures[0].url.text == "data:image/png;base64,"
    for head in (b"image/\xff", rb"image\x"):
        with pytest.raises(InvalidArgument, match="invalid JSON") as refused:
            parsed(b'{"pictures": [{"url": "data:%s;base64,%s"}]}' % (head, encoded))
        assert refused.value.field == "body"


def test_media_are_decoded_and_not_kept_as_text():
    image = bytes(range(256)) * 8192
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    data = json.dumps({"pictures": [{"url": url}, {"url": url[22:]}, {"url": "https://a/b.png"}]}).encode()
    body = LargeJson()
    for start in range(0, len(data), PIECE_BYTES):
        body.feed(data[start : start + PIECE_BYTES])
    body.end()
    assert len(body.rest) < 200
    assert plain(decode(body.rest, Request, body.media))[0] == [
        ("data:image/png;base64,", image, ""),
        ("", image, ""),
        ("https://a/b.png", None, ""),
    ]


def test_invalid_base64_is_reported_where_the_medium_is_used():
    data = json.dumps({"pictures": [{"url": "data:image/png;base64," + "A" * MEDIA_BYTES + "?AAA"}]}).encode()
    ((_, content, error),) = plain(parsed(data))[0]
    assert (content, error) == (b"", "Only base64 data is allowed")


REFUSED = {
    "values": (b'{"text": "", "a": [' + b"0," * MAX_TOKENS + b"0]}", "body", f"at most {MAX_TOKENS} quotes"),
    "arrays": (b"[" * (MAX_TOKENS + 1), "body", f"at most {MAX_TOKENS} quotes"),
    "keys": (b'{"a": {' + b'"b":"",' * MAX_TOKENS, "body", f"at most {MAX_TOKENS} quotes"),
    "text": (b'{"text": "' + b"a b " * (REST_BYTES // 4) + b'"}', "body", f"at most {REST_BYTES} bytes"),
    "space": (b'{"text": ' + b" " * REST_BYTES + b'""}', "body", f"at most {REST_BYTES} bytes"),
    "base64 as text": (b'{"text" : "' + b"a" * (MEDIA_BYTES + 1) + b'"}', "text", f"at most {MEDIA_BYTES} bytes"),
    "base64 as note": (
        b'{"pictures":[{"url":"x","note":"' + b"a" * (MEDIA_BYTES + 1) + b'"}]}',
        "note",
        f"at most {MEDIA_BYTES} bytes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_body_that_takes_too_long_to_decode_is_refused(case):
    data, field, message = REFUSED[case]
    with pytest.raises(TooLarge, match=message) as refused:
        parsed(data)
    assert refused.value.field == field


@pytest.mark.parametrize("value", [b"1", b"null", b"[]", b"{}"])
def test_a_medium_must_be_a_text(value):
    with pytest.raises(ServeError, match=r"pictures\[0\].url must be str, got"):
        decode(b'{"pictures": [{"url": ' + value + b"}]}", Request)


@pytest.mark.parametrize("value", [b"[],", b"{},"])
async def test_a_small_body_of_too_many_arrays_and_objects_is_refused(http, value):
    body = b'{"messages": [], "metadata": [' + value * MAX_NESTED + b"0]}"
    response = await http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["param"]) == (413, "body")
    assert "the body must have at most 100000 arrays and objects, got 10000" in response.text


@pytest.mark.parametrize(
    ("metadata", "param", "message"),
    [
        ({str(number): "" for number in range(17)}, "metadata", "metadata must be object of length <= 16"),
        ({"k" * 65: ""}, "metadata", "a key of metadata must be str of length <= 64"),
        ({"k": "v" * 513}, "metadata[...]", "metadata[...] must be str of length <= 512"),
    ],
)
async def test_metadata_have_openais_limits(http, metadata, param, message):
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    full = {"k" * 64: "v" * 512} | {str(number): "" for number in range(15)}
    assert (await http.post("/v1/chat/completions", json=body | {"metadata": full})).status_code == 200
    response = await http.post("/v1/chat/completions", json=body | {"metadata": metadata})
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["message"]) == (400, param, message)


@pytest.mark.parametrize("size", [100_000, 3_000_000])
async def test_a_large_image_of_a_chat_is_read(http, state, orders, size):
    """Above `max_inline_media_bytes`, which is 64 KiB here, it goes by reference."""
    image = bytes(range(250)) * (size // 250)
    url = "data:image/png;base64," + base64.b64encode(image).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    response = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
    assert response.status_code == 200, response.text
    (request,) = orders.requests("ReadText")
    assert await state.store.read("default", request.image.reference, size) == image
    assert request.image.mime_type == "image/png"


async def test_a_large_recording_over_the_limit_is_refused_by_its_field(build):
    state = build(max_audio_bytes=1 << 20)
    data = base64.b64encode(bytes(2 << 20)).decode()
    content = [{"type": "input_audio", "input_audio": {"data": data}}]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(state)), base_url="http://localhost") as http:
        response = await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]})
    assert (response.status_code, response.json()["error"]["param"]) == (413, "messages[0].content[0].input_audio.data")
