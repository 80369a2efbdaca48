"""What is fetched: whole, within its bounds of bytes and seconds, or not at all."""

import asyncio
import gzip
import time

import pytest

from servekit.errors import TooLarge

from .fetching import FIELD, fetcher, fixed, refused, response, serving


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


async def test_an_invalid_content_type_becomes_octet_stream():
    async with serving(fixed(response(b"x", content_type="what?"))) as url:
        assert await fetcher().fetch(url, FIELD) == (b"x", "application/octet-stream")


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


async def test_a_content_length_that_is_too_low_truncates_or_fails():
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
    assert time.perf_counter() - began < 5  # the whole takes ten


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
async def test_a_server_that_is_not_http_is_an_error(data):
    async with serving(fixed(data)) as url:
        await refused(url)


async def test_a_closed_port_is_an_error(unused_tcp_port):
    await refused(f"http://127.0.0.1:{unused_tcp_port}/", match="the connection to the URL failed")


async def test_cancelling_a_fetch_closes_the_connection():
    asked, closed = asyncio.Event(), asyncio.Event()

    async def answer(path, headers, writer):
        asked.set()
        try:
            while True:
                await asyncio.sleep(0.01)
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                await writer.drain()
        finally:
            closed.set()

    async with serving(answer) as url:
        fetching = asyncio.create_task(fetcher(timeout=30).fetch(url, FIELD))
        await asyncio.wait_for(asked.wait(), 20)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await asyncio.wait_for(closed.wait(), 20)
