"""Media are fetched from public addresses only, whatever their notation and wherever a redirect leads."""

from ipaddress import ip_address

import httpx
import pytest

from gateway.media.fetch import is_public

from .fetching import FIELD, PUBLIC, Recorder, fetcher, fixed, refused, resolving, response, serving


@pytest.mark.parametrize("allow", [("127.0.0.0/8",), ("127.0.0.1",), ("pictures.internal",), ("Pictures.Internal.",)])
async def test_the_operator_allows_networks_addresses_and_names(allow):
    async with serving(fixed(response(b"x"))) as url:
        port = url.rsplit(":", 1)[1]
        got = await fetcher(allow, resolver=resolving("127.0.0.1")).fetch(f"http://pictures.internal:{port}/", FIELD)
    assert got[0] == b"x"


async def test_loopback_is_refused_unless_allowed():
    async with serving(fixed(response(b"secret"))) as url:
        await refused(url, allow=(), match="public or allowed addresses")
        await refused(
            url.replace("127.0.0.1", "localhost"), allow=("10.0.0.0/8", "a.com"), match="public or allowed addresses"
        )


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "0"])
async def test_other_spellings_of_loopback_are_refused(host):
    await refused(f"http://{host}/", allow=())


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.255.255.255", "10.1.2.3", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
        "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.0", "192.0.0.8",
        "192.0.0.9", "192.0.0.10", "192.0.0.170", "192.0.0.192", "192.0.0.255", "192.0.2.1", "192.88.99.0",
        "192.88.99.1", "192.88.99.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
        "233.252.0.1", "239.1.1.1", "240.0.0.1", "247.1.1.1", "255.255.255.255",
        "::", "::1", "::7f00:1", "::8.8.8.8", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "feff::1", "ff02::1",
        "ff0e::1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::ffff:192.88.99.1", "::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b::192.0.0.9", "64:ff9b:1::1", "64:ff9b:1:ffff::8.8.8.8", "100::1", "100:0:0:1::1",
        "2001::1", "2001:0:5db8:d70e::1", "2001:0:1::1", "2001:1::1", "2001:2::1", "2001:3::1", "2001:4:112::1",
        "2001:10::1", "2001:20::1", "2001:30::1", "2001:1ff::1", "2001:db8::1", "2002:7f00:1::1", "2002:5db8:d70e::1",
        "2002:808:808::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "8000::1", "e000::1",
    ],
)  # fmt: skip
async def test_private_addresses_are_refused(address):
    assert not is_public(ip_address(address))
    transport = Recorder()
    await refused("https://example.com/", allow=(), resolver=resolving(address), transport=transport)
    assert transport.asked == []


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC, "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.32.0.1",
        "191.255.255.255", "192.0.1.1", "192.88.98.255", "192.88.100.1", "192.167.1.1", "198.17.1.1", "198.20.0.1",
        "203.0.112.1", "223.255.255.254", "2606:4700::1111", "2001:200::1", "2001:4860:4860::8888", "2003::1",
        "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
    ],
)  # fmt: skip
def test_public_addresses(address):
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
async def test_other_than_http_urls_are_refused(url):
    transport = Recorder()
    await refused(url, transport=transport)
    assert transport.asked == []


async def test_an_unknown_host_is_refused():
    async def unknown(host, port):
        raise OSError("no such name")

    await refused("http://nowhere.example/", match="could not be resolved", resolver=unknown)
