"""Who may open a live session, and what is wrong with one that may not be."""

import hashlib
import json
import socket

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .conftest import session

KEY = "a" * 64


async def refused(url, **options):
    """The body of the answer that is not an upgrade, and its status."""
    with pytest.raises(InvalidStatus) as raised:
        async with connect(url, **options):
            pass
    response = raised.value.response
    assert response.headers["x-request-id"]
    return response.status_code, json.loads(response.body)["error"]


async def test_the_handshake_response_has_the_error(url):
    assert (await refused(f"{url}?model=none"))[0] == 404
    status, error = await refused(f"{url}?intent=conversation")
    assert (status, error["param"]) == (400, "intent")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:1", "null", "http://127.0.0.1"])
async def test_without_keys_a_page_of_another_origin_is_refused(url, origin):
    status, error = await refused(url, origin=origin)
    assert (status, error["param"]) == (403, "origin")


async def test_a_foreign_name_that_leads_here_is_a_foreign_page(gateway):
    async def lead(name):
        local = socket.create_connection(("127.0.0.1", gateway[0].port))
        url = f"ws://{name}:{gateway[0].port}/v1/realtime"
        async with connect(url, origin=url.replace("ws:", "http:").removesuffix("/v1/realtime"), sock=local):
            return True

    with pytest.raises(InvalidStatus):
        await lead("rebound.example")
    assert await lead("localhost")


async def test_a_key_is_accepted_as_header_or_subprotocol(serve_gateway, tmp_path):
    path = tmp_path / "keys.toml"
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    path.write_text(f'[[keys]]\nsha256 = "{digest}"\nowner = "acme"\n')
    web, _ = await serve_gateway(keys_file=path)
    url = f"ws://127.0.0.1:{web.port}/v1/realtime"
    assert (await refused(url))[0] == 401
    assert (await refused(url, subprotocols=["realtime", "openai-insecure-api-key.wrong"]))[0] == 401
    async with session(url, additional_headers={"Authorization": f"Bearer {KEY}"}):
        pass
    async with session(
        url, subprotocols=["realtime", f"openai-insecure-api-key.{KEY}"], origin="https://app.example"
    ) as ws:
        assert ws.subprotocol == "realtime"
