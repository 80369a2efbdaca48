import asyncio
import gzip
import time
from contextlib import asynccontextmanager
from ipaddress import ip_address

import httpx
import pytest

from gateway.fetch import Fetcher, is_public
from servekit.errors import InvalidArgument, TooLarge

FIELD = "messages[0].content[1].image_url.url"
PUBLIC = "93.184.215.14"


@asynccontextmanager
async def serving(answer):
    """A real HTTP server on loopback: `answer(path, headers, writer)` writes the whole response."""

    async def handle(reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
            await answer(path, headers, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def response(body=b"", status="200 OK", **headers):
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {"content_length": len(body), **headers}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fixed(data):
    async def answer(path, headers, writer):
        writer.write(data)

    return answer


def fetcher(allow=("127.0.0.1",), max_bytes=1000, timeout=2.0, **parts):
    return Fetcher(allow, max_bytes=max_bytes, timeout=timeout, **parts)


def resolving(*addresses):
    async def resolver(host, port):
        return addresses

    return resolver


class Recorder(httpx.AsyncBaseTransport):
    """A transport that answers from a list and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def handle_async_request(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def refused(url, error=InvalidArgument, match=None, **options):
    with pytest.raises(error, match=match) as caught:
        await fetcher(**options).fetch(url, FIELD)
    assert caught.value.field == FIELD
    return caught.value


async def test_an_allowed_server_is_fetched():
    seen = {}

    async def answer(path, headers, writer):
        seen.update(headers, path=path)
        writer.write(response(b"pixels", content_type="Image/PNG; q=1"))

    async with serving(answer) as url:
        assert await fetcher().fetch(f"{url}/a%20b.png?x=1#part", FIELD) == (b"pixels", "image/png")
    assert seen["path"] == "/a%20b.png?x=1"
    assert seen["host"] == url.removeprefix("http://")
    assert seen["accept-encoding"] == "identity"
    assert "cookie" not in seen


async def test_a_type_that_is_none_becomes_bytes():
    async with serving(fixed(response(b"x", content_type="what?"))) as url:
        assert await fetcher().fetch(url, FIELD) == (b"x", "application/octet-stream")


@pytest.mark.parametrize("allow", [("127.0.0.0/8",), ("127.0.0.1",), ("pictures.internal",), ("Pictures.Internal.",)])
async def test_the_operator_allows_networks_addresses_and_names(allow):
    async with serving(fixed(response(b"x"))) as url:
        port = url.rsplit(":", 1)[1]
        got = await fetcher(allow, resolver=resolving("127.0.0.1")).fetch(f"http://pictures.internal:{port}/", FIELD)
    assert got[0] == b"x"


async def test_loopback_is_refused_unless_allowed():
    async with serving(fixed(response(b"secret"))) as url:
        await refused(url, allow=(), match="may be fetched")
        await refused(url.replace("127.0.0.1", "localhost"), allow=("10.0.0.0/8", "a.com"), match="may be fetched")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"])
async def test_other_spellings_of_loopback_are_refused(host):
    await refused(f"http://{host}/", allow=())


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "192.0.2.1",
        "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "fe80::1",
        "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe",
        "64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::1", "2002:5db8:d70e::1", "2001:0:1::1",
        "100::1", "5f00::1",
    ],
)  # fmt: skip
async def test_what_is_not_public_is_refused(address):
    assert not is_public(ip_address(address))
    transport = Recorder()
    await refused("https://example.com/", allow=(), resolver=resolving(address), transport=transport)
    assert transport.asked == []


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_what_is_public(address):
    assert is_public(ip_address(address))


async def test_one_private_address_among_public_ones_is_enough_to_refuse():
    transport = Recorder()
    await refused("http://example.com/", allow=(), resolver=resolving(PUBLIC, "10.0.0.1"), transport=transport)
    assert transport.asked == []


async def test_the_connection_goes_to_the_address_that_was_checked():
    answers = [(PUBLIC,), ("127.0.0.1",)]

    async def rebinding(host, port):
        return answers.pop(0)

    transport = Recorder(httpx.Response(200, stream=httpx.ByteStream(b"x")))
    fetching = fetcher((), resolver=rebinding, transport=transport)
    assert (await fetching.fetch("https://Bücher.example:8443/a", FIELD))[0] == b"x"
    (request,) = transport.asked
    assert str(request.url) == f"https://{PUBLIC}:8443/a"
    assert request.headers["host"] == "xn--bcher-kva.example:8443"
    assert request.extensions["sni_hostname"] == "xn--bcher-kva.example"
    assert len(answers) == 1, "the name was resolved more than once"


async def test_the_next_address_is_tried_where_one_does_not_answer():
    transport = Recorder(httpx.ConnectError("unreachable"), httpx.Response(200, stream=httpx.ByteStream(b"x")))
    fetching = fetcher((), resolver=resolving("2606:4700::1111", PUBLIC), transport=transport)
    assert (await fetching.fetch("http://example.com/", FIELD))[0] == b"x"
    assert [request.url.host for request in transport.asked] == ["2606:4700::1111", PUBLIC]


@pytest.mark.parametrize("location", ["http://127.0.0.1/", "//[::1]/", "file:///etc/passwd", "http://u:p@other.com/"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_checked_like_the_first_url(location, status):
    async def resolver(host, port):
        return ["127.0.0.1"] if host == "127.0.0.1" else ["::1"] if host == "::1" else [PUBLIC]

    transport = Recorder(httpx.Response(status, headers={"location": location}))
    await refused("http://example.com/", allow=(), resolver=resolver, transport=transport)
    assert len(transport.asked) == 1


async def test_a_real_redirect_to_a_private_address_is_refused():
    async with (
        serving(fixed(response(b"secret"))) as inside,
        serving(fixed(response(status="302 Found", location=inside.replace("127.0.0.1", "localhost")))) as outside,
    ):

        async def resolver(host, port):
            return ["127.0.0.1"]

        await refused(outside.replace("127.0.0.1", "open.example"), allow=("open.example",), resolver=resolver)


async def test_three_redirects_are_followed_a_fourth_is_not():
    async def answer(path, headers, writer):
        left = int(path[1:])
        writer.write(response(b"end") if left == 0 else response(status="302 Found", location=f"/{left - 1}"))

    async with serving(answer) as url:
        assert (await fetcher().fetch(f"{url}/3", FIELD))[0] == b"end"
        await refused(f"{url}/4", match="redirects")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/", "data:,x", "javascript:1", "", "http://",
        "http:///path", "example.com/x", "http://[::1", "http://exa mple.com/", "http://user@example.com/",
        "http://user:secret@example.com/", "http://example.com:99999/", "http://" + "a" * 300 + ".com/", "http://\x00/",
        "http://..", "https://" + "a" * 100_000,
    ],
)  # fmt: skip
async def test_what_is_no_http_url_is_refused(url):
    transport = Recorder()
    await refused(url, transport=transport)
    assert transport.asked == []


async def test_an_unknown_host_is_refused():
    async def unknown(host, port):
        raise OSError("no such name")

    await refused("http://nowhere.example/", match="not known", resolver=unknown)


async def test_a_body_up_to_the_bound_and_no_further():
    async with serving(fixed(response(b"x" * 1000))) as url:
        assert len((await fetcher().fetch(url, FIELD))[0]) == 1000
        await refused(url, TooLarge, max_bytes=999)


async def test_an_endless_body_is_cut_while_it_streams():
    sent = 0

    async def answer(path, headers, writer):
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            sent += 1024
            await writer.drain()

    async with serving(answer) as url:
        await refused(url, TooLarge, max_bytes=100_000)
    assert sent < 20_000_000


async def test_a_content_length_that_lies_low_gives_what_it_claims_or_an_error():
    async with serving(fixed(response(b"x" * 5000, content_length="10"))) as url:
        assert await fetcher().fetch(url, FIELD) == (b"x" * 10, "application/octet-stream")


@pytest.mark.parametrize("length", ["5000", "9" * 5000])
async def test_a_content_length_that_lies_high_is_an_error(length):
    async with serving(fixed(response(b"x" * 10, content_length=length))) as url:
        await refused(url, max_bytes=10_000)


async def test_a_body_that_drips_is_cut_by_the_clock():
    async def answer(path, headers, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")
        for _ in range(500):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serving(answer) as url:
        began = time.perf_counter()
        await refused(url, match="within 0.3 seconds", timeout=0.3)
    assert time.perf_counter() - began < 1


async def test_a_server_that_never_answers_is_cut_by_the_clock():
    async def answer(path, headers, writer):
        await asyncio.sleep(5)

    async with serving(answer) as url:
        await refused(url, match="seconds", timeout=0.2)


async def test_a_resolver_that_hangs_is_cut_by_the_clock():
    async def hangs(host, port):
        await asyncio.sleep(60)

    await refused("http://example.com/", match="seconds", timeout=0.1, resolver=hangs)


async def test_a_compressed_bomb_is_not_inflated():
    bomb = gzip.compress(bytes(1_000_000))
    async with serving(fixed(response(bomb, content_encoding="gzip"))) as url:
        await refused(url, match="compressed", max_bytes=2_000_000)


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content", "206 Partial", "304 Not Modified"])
async def test_only_200_is_an_answer(status):
    async with serving(fixed(response(status=status))) as url:
        await refused(url, match=status[:3])


@pytest.mark.parametrize("data", [b"", b"not http\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 500000, b"HTTP/1.1 200"])
async def test_what_does_not_speak_http_is_an_error(data):
    async with serving(fixed(data)) as url:
        await refused(url)


async def test_a_port_where_nobody_listens_is_an_error(unused_tcp_port):
    await refused(f"http://127.0.0.1:{unused_tcp_port}/", match="could not be fetched")


async def test_a_caller_that_leaves_closes_the_connection():
    closed = asyncio.Event()

    async def answer(path, headers, writer):
        try:
            while True:
                await asyncio.sleep(0.01)
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
        finally:
            closed.set()

    async with serving(answer) as url:
        fetching = asyncio.create_task(fetcher(timeout=30).fetch(url, FIELD))
        await asyncio.sleep(0.1)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await asyncio.wait_for(closed.wait(), 2)
