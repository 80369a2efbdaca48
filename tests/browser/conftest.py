"""A browser, a fleet of fakes, and a web site of somebody else."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from fleet.temporary import TemporaryFleet, new_home, running

PROGRAMS = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome")
PAGE = Path(__file__).with_name("attack.html").read_bytes()

Report = dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser: the program `CHROMIUM`, or the first that is installed."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip("no chromium: apt-get install chromium, or set CHROMIUM to its path")
    return found


@pytest.fixture(scope="session")
def fleet(chromium: str) -> Iterator[TemporaryFleet]:
    with new_home() as home, running(home, "--profile", "fake") as fleet:
        yield fleet


@pytest.fixture(scope="session")
def gateway(fleet: TemporaryFleet) -> httpx.URL:
    """The address of the gateway."""
    return httpx.URL(fleet.address("gateway"))


@pytest.fixture(scope="session")
def http(gateway: httpx.URL) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway, timeout=60) as client:
        yield client


class Site:
    """A web site: `/attack` is its page, to `/report` this page posts what it could do.

    Other requests go to the gateway as they are, which is what happens once the name of the site resolves to the
    address of the gateway (DNS rebinding): to the browser the gateway's answers have the origin of the page.
    """

    def __init__(self, gateway: httpx.URL) -> None:
        self._gateway = gateway
        self.report: asyncio.Future[Report] = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """Listen on a free port, which is returned, for as long as the context lasts."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            if path.startswith(b"/attack"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n" + PAGE)
            elif path == b"/report":
                self.report.set_result(json.loads(await reader.readexactly(_content_length(head))))
            else:
                await self._forward(head, reader, writer)
        writer.close()

    async def _forward(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(self._gateway.host, self._gateway.port)
        if b"\r\nupgrade: websocket" not in head.lower():  # one request per connection, so that the next is looked at
            head = head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n").replace(
                b"Connection: keep-alive\r\n", b""
            )
        requests.write(head)
        sending = asyncio.create_task(_copy(reader, requests))
        await _copy(answers, writer)
        sending.cancel()
        requests.close()


def _content_length(head: bytes) -> int:
    fields = dict(line.split(b": ", 1) for line in head.strip().lower().split(b"\r\n")[1:])
    return int(fields[b"content-length"])


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while chunk := await source.read(1 << 16):
        to.write(chunk)
        await to.drain()


@pytest.fixture
def attack(chromium: str, fleet: TemporaryFleet, gateway: httpx.URL) -> Callable[[str, str, str], Awaitable[Report]]:
    """`report = await attack(name, target, file)`: what a page of the site `name` could do to the gateway."""

    async def attack(name: str, target: str, file: str) -> Report:
        """Open the page.

        Args:
            name: The host name of the site.
            target: Where the page sends its requests: a host name of the gateway; empty for the origin of the page,
                whose name by then resolves to the gateway.
            file: The id of a file that the page tries to delete.
        """
        site = Site(gateway)
        async with site.listen() as port:
            origin = f"http://{name}:{port}"
            query = {
                "target": f"http://{target}:{gateway.port}" if target else origin,
                "grpc": f"http://{fleet.address('gateway', 'grpc')}",
                "file": file,
            }
            async with _opened(chromium, f"{origin}/attack?{urlencode(query)}"), asyncio.timeout(60):
                return await site.report

    return attack


@asynccontextmanager
async def _opened(chromium: str, url: str) -> AsyncIterator[None]:
    """A browser that shows `url`, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [chromium, *_options(profile), url]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.kill()
            await process.wait()


@pytest.fixture
def show(chromium: str, tmp_path: Path) -> Callable[[str], str]:
    """`html = show(url)`: a page after its scripts have run."""

    def show(url: str) -> str:
        command = [chromium, *_options(str(tmp_path)), "--virtual-time-budget=20000", "--dump-dom", url]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    return show


def _options(profile: str) -> list[str]:
    """The options of a browser without a window or a proxy, to which every name of `.example` is this machine."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # the sandbox does not run as root
    rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
    return ["--headless", "--no-proxy-server", "--disable-gpu", f"--user-data-dir={profile}", rules, *root]
