"""Servers on loopback that answer as they are told, and a fetcher that may ask them."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.media.fetch import Fetcher
from servekit.errors import InvalidArgument

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
