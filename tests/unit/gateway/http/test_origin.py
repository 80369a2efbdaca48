"""A gateway without API keys takes requests of local clients and of its own pages, not of other web pages."""

import asyncio
import hashlib
import json
import re

import pytest
from pydantic import ValidationError

from gateway.app import OPERATIONS, build_app
from gateway.http.server import WebServer
from gateway.settings import GatewaySettings

KEY = "a" * 64
CHAT = json.dumps({"messages": [{"role": "user", "content": "Hi"}]})
FORM = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
IS_JSON, IS_FORM = "content-type: application/json", "content-type: multipart/form-data; boundary=b"
LIST, DELETE, ASK = "GET /v1/files HTTP/1.1", "DELETE /v1/files/file-1 HTTP/1.1", "POST /v1/chat/completions HTTP/1.1"

OWN_HOSTS = [
    "localhost", "localhost:8080", "LocalHost:8080", "localhost.", "localhost.:8080", "app.localhost:3000", "127.0.0.1",
    "127.0.0.1:1", "localhost \t", "127.8.8.8", "[::1]", "[::1]:8080", "[::ffff:127.0.0.1]:8080", "[0:0:0:0:0:0:0:1]",
]  # fmt: skip
OTHER_HOSTS = [
    "gateway", "evil.example", "evil.example:8080", "localhost.evil.com", "localhost.evil.com:8080", "evil-localhost",
    "127.0.0.1.nip.io", "127.0.0.1.evil.com:8080", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0",
    "192.168.1.5", "169.254.169.254", "[::]", "[fe80::1]", "[::1%25lo]", "::1", "[127.0.0.1]", "[::1", "localhost]",
    "user@localhost", "localhost@evil.com", "localhost:8080@evil.com", "localhost:port", "localhost:123456",
    "localhost/", "localhost#.evil.com", "localhost evil.com", "localhost\tevil.com", "localhost, evil.com",
    "http://localhost", "*", "", ".localhost.", "l\xf6calhost", "xn--lclhost-90a.example", "x" * 5000,
]  # fmt: skip
OTHER_ORIGINS = [
    "https://evil.example", "null", "", "http://localhost", "http://localhost:3000", "http://127.0.0.1:8080", "file://",
    "http://localhost:8080.evil.com", "http://evil.com#localhost:8080", "http://user@localhost:8080", "localhost:8080",
    "ftp://localhost:8080", "app://localhost:8080", "chrome-extension://localhost:8080", "http://localhost:8080/",
    "http://localhost:8080 http://evil.com",
]  # fmt: skip


@pytest.fixture
async def serve(build):
    """`send = await serve(...)`: a listening gateway, and what it answers to the lines of a request."""
    running = []

    async def start(**changes):
        state = build(http_port=0, drain_timeout_seconds=1, **changes)
        web = WebServer(build_app(state), state.settings, state.telemetry)
        await web.start()
        running.append(web)

        async def send(*head, body=""):
            """The status, and the error if there is one."""
            reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
            lines = [*head, f"content-length: {len(body)}", "connection: close", "", body]
            writer.write("\r\n".join(lines).encode("latin-1"))
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            start, _, content = answer.partition(b"\r\n\r\n")
            status = int(re.match(rb"HTTP/1.1 (\d+)", start)[1])
            return status, json.loads(content).get("error") if status >= 400 and b"/json" in start else None

        return send

    yield start
    for web in running:
        await web.stop()


@pytest.fixture
async def send(serve):
    return await serve()


async def test_loopback_hosts_are_accepted(send):
    for host in OWN_HOSTS:
        assert (await send(LIST, f"host: {host}"))[0] == 200, host


async def test_other_hosts_are_refused_before_anything_is_read_or_changed(send, orders):
    for host in OTHER_HOSTS:
        for line, body in ((LIST, ""), (DELETE, ""), (ASK, CHAT)):
            status, error = await send(line, f"host: {host}", IS_JSON, body=body)
            assert (status, error["param"], error["type"]) == (403, "host", "permission_error"), host
            assert "POLYPHONY_GATEWAY_ALLOWED_HOSTS" in error["message"]
            assert len(error["message"]) < 400, host
    assert orders.seen == []


async def test_a_request_must_have_exactly_one_host(send):
    for version in ("1.0", "1.1"):
        for hosts in ([], ["localhost", "localhost"], ["localhost", "evil.example"], ["evil.example", "localhost"]):
            status, error = await send(f"GET /v1/files HTTP/{version}", *(f"host: {host}" for host in hosts))
            assert (status, error["param"]) == (403, "host"), hosts


async def test_no_other_header_and_no_absolute_url_replaces_the_host(send):
    forwarded = "x-forwarded-host: localhost", "forwarded: host=localhost", "x-host: localhost"
    status, error = await send("GET http://localhost/v1/files HTTP/1.1", "host: evil.example", *forwarded)
    assert (status, error["param"]) == (403, "host")


async def test_probes_and_prometheus_may_send_any_host(send):
    for path, status in (("/healthz", 200), ("/readyz", 503), ("/metrics", 200)):  # these fakes report no health
        for head in (["host: 10.1.2.3:8080"], ["host: gateway.polyphony.svc"], []):
            assert (await send(f"GET {path} HTTP/1.1", *head))[0] == status, (path, head)
    assert {row.path for row in OPERATIONS if row.any_host} == {"/healthz", "/readyz", "/metrics"}


async def test_the_operator_allows_hosts(serve):
    send = await serve(allowed_hosts=("polyphony.lan", "10.0.0.5"))
    for host in ("polyphony.lan", "Polyphony.LAN:8443", "polyphony.lan.", "10.0.0.5:80", "localhost"):
        assert (await send(LIST, f"host: {host}"))[0] == 200, host
        assert (await send(DELETE, f"host: {host}", f"origin: https://{host}"))[0] == 404, host
    for host in ("lan", "evil.polyphony.lan", "polyphony.lan.evil.com"):
        assert (await send(LIST, f"host: {host}"))[0] == 403, host


@pytest.mark.parametrize("name", ["http://a", "a:8080", "A.lan", "*.lan", "a.", "a/b", "", "a b", "b\xfc.de", "a\n"])
def test_an_allowed_host_must_be_a_name_without_a_port(name, monkeypatch):
    monkeypatch.setenv("POLYPHONY_GATEWAY_ALLOWED_HOSTS", json.dumps([name]))
    with pytest.raises(ValidationError, match="allowed_hosts"):
        GatewaySettings()


async def test_a_page_of_the_gateway_may_send_requests(send):
    for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "localhost.:8080", "localhost"):
        head = f"host: {host}", f"origin: http://{host}", "sec-fetch-site: same-origin", "sec-fetch-mode: cors"
        assert (await send(ASK, *head, IS_JSON, body=CHAT))[0] == 200, host


async def test_a_page_of_another_origin_is_refused(send, orders):
    for origin in OTHER_ORIGINS:
        for line, body in ((LIST, ""), (DELETE, ""), (ASK, CHAT)):
            status, error = await send(line, "host: localhost:8080", f"origin: {origin}", IS_JSON, body=body)
            assert (status, error["param"], error["type"]) == (403, "origin", "permission_error"), origin
            assert "POLYPHONY_GATEWAY_KEYS_FILE" in error["message"]
    assert orders.seen == []


async def test_each_of_several_origins_must_be_the_own_one(send):
    origins = "origin: http://localhost", "origin: http://evil.example"
    for order in (origins, origins[::-1]):
        assert (await send(LIST, "host: localhost", *order))[0] == 403


async def test_a_form_of_another_page_is_refused(send):
    head = "POST /v1/files HTTP/1.1", "host: localhost", IS_FORM
    for sent in (
        "origin: http://evil.example",
        "origin: null",
        "sec-fetch-site: cross-site",
        "sec-fetch-site: same-site",
        "sec-fetch-site: none\r\nsec-fetch-site: cross-site",
    ):
        assert (await send(*head, sent, body=FORM))[0] == 403, sent
    assert (await send(*head, body=FORM))[0] == 200, "a client that is no browser"
    assert (await send(*head, "origin: http://localhost", body=FORM))[0] == 200, "a page of the gateway"


async def test_a_browser_that_sends_no_origin_is_known_by_its_fetch_metadata(send):
    embedded = [("no-cors", "image"), ("navigate", "iframe"), ("no-cors", "script"), ("cors", "empty")]
    link = "sec-fetch-mode: navigate", "sec-fetch-dest: document"
    for site in ("cross-site", "same-site", "unknown"):
        head = "host: localhost", f"sec-fetch-site: {site}"
        for mode, dest in embedded:
            status, error = await send(LIST, *head, f"sec-fetch-mode: {mode}", f"sec-fetch-dest: {dest}")
            assert (status, error["param"]) == (403, "sec-fetch-site"), (site, mode, dest)
        assert (await send(DELETE, *head, *link))[0] == 403
        assert (await send(ASK, *head, *link, IS_JSON, body=CHAT))[0] == 403
        assert (await send("GET /docs HTTP/1.1", *head, *link))[0] == 200, "a link to the documentation"
    for site in ("none", "same-origin"):
        assert (await send(LIST, "host: localhost", f"sec-fetch-site: {site}"))[0] == 200


@pytest.mark.parametrize(
    "sent",
    ["text/plain", "text/plain; charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b",
     "text/plain; application/json", "application/jsonp", "application/json, text/plain", "", None],
)  # fmt: skip
async def test_json_must_be_declared_as_json(send, orders, sent):
    head = [] if sent is None else [f"content-type: {sent}"]
    for row in OPERATIONS:
        if row.body is not None and row.form is None:
            path = row.path.replace("{", "").replace("}", "")
            status, error = await send(f"{row.method} {path} HTTP/1.1", "host: localhost", *head, body=CHAT)
            assert (status, error["param"]) == (415, "content-type"), row.path
            assert "send the header content-type: application/json" in error["message"]
    assert orders.seen == []


async def test_declared_json_is_accepted(send):
    for sent in ("application/json", "Application/JSON", "application/json; charset=utf-8"):
        assert (await send(ASK, "host: localhost", f"content-type: {sent}", body=CHAT))[0] == 200, sent


async def test_with_keys_every_host_origin_and_content_type_is_accepted(serve, tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nsha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"\nowner = "acme"\n')
    send = await serve(keys_file=path)
    head = "host: api.example.com", "origin: https://app.example", "sec-fetch-site: cross-site"
    assert (await send(ASK, *head, body=CHAT))[0] == 401
    assert (await send(ASK, *head, f"authorization: Bearer {KEY}", body=CHAT))[0] == 200
