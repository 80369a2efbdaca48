"""Clients that hold connections: half-sent bodies of 45 MB, and heads of requests that do not end."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from drill.requests import samples
from drill.result import DrillResult
from fleet.temporary import TemporaryFleet
from servekit.ops.descriptors import raise_descriptor_limit

PROMISE = (
    "While 200 clients hold half-sent bodies of 45 MB, or 2,000 hold half-sent heads, requests of other clients are "
    "answered within 10 s and the gateway takes at most 768 MiB."
)
SHORT = False
BODIES, BODY_BYTES, HEADS = 200, 45_000_000, 2_000
MAX_SECONDS, MAX_MEMORY_BYTES = 10.0, 768 << 20

_PIECE = bytes(256 << 10)
_SEND_SECONDS = 60.0  # after which a client that the server does not read gives up
_CHAT = ("/v1/chat/completions", "application/json", b'{"messages": [{"role": "user", "content": "')
_UPLOAD = (
    "/v1/files",
    "multipart/form-data; boundary=b",
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n',
)


@dataclass(frozen=True, slots=True)
class SlowClientFigures:
    """What was measured while slow clients held their connections.

    Attributes:
        clients: The number of slow clients.
        refused: How many of them had an answer, or no connection any more, by the end.
        sent_bytes: The bytes that they sent.
        peak_bytes: The peak resident memory of the server's process meanwhile.
        seconds: The duration of each request of other clients that was answered.
        failures: The other requests, and those that were refused, with what happened.
    """

    clients: int
    refused: int
    sent_bytes: int
    peak_bytes: int
    seconds: tuple[float, ...]
    failures: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether what `PROMISE` says was so."""
        return not self.failures and max(self.seconds) <= MAX_SECONDS and self.peak_bytes <= MAX_MEMORY_BYTES

    def __str__(self) -> str:
        answered = f"others answered within {max(self.seconds, default=0):.2f} s"
        return (
            f"{self.clients} clients, {self.refused} of them refused, {self.sent_bytes / 1e6:.0f} MB: "
            f"{'; '.join(self.failures) or answered}, at most {self.peak_bytes >> 20} MiB"
        )


def run(fleet: TemporaryFleet) -> DrillResult:
    """Hold the connections, and send a request to each service meanwhile."""
    raise_descriptor_limit()
    row = fleet.status()["gateway"]
    requests = [httpx.Request("GET", f"{row['address']}/healthz")]
    requests += [httpx.Request("POST", f"{row['address']}{one.path}", **one.options) for one in samples().values()]
    attacks = [
        asyncio.run(half_sent_bodies(row["address"], row["pid"], requests)),
        asyncio.run(half_sent_bodies(row["address"], row["pid"], requests, form=True)),
        asyncio.run(half_sent_heads(row["address"], row["pid"], requests)),
    ]
    return DrillResult("\n".join(map(str, attacks)), all(figures.kept for figures in attacks))


async def half_sent_bodies(
    address: str, process: int, requests: Sequence[httpx.Request], count: int = BODIES, *, form: bool = False
) -> SlowClientFigures:
    """Send all but the last byte of `count` bodies at once, and then the requests of another client.

    Args:
        address: The URL of the gateway.
        process: The id of its process.
        requests: What the other client sends, one after another.
        count: The number of bodies, of `BODY_BYTES` each.
        form: Whether the bodies are uploads of files rather than chats.
    """
    path, content_type, start = _UPLOAD if form else _CHAT
    head = f"POST {path} HTTP/1.1\r\nhost: {httpx.URL(address).netloc.decode()}\r\ncontent-type: {content_type}\r\n"
    client = f"{head}content-length: {BODY_BYTES}\r\n\r\n".encode() + start
    return await _hold(address, process, requests, count, client, BODY_BYTES - len(start) - 1)


async def half_sent_heads(
    address: str, process: int, requests: Sequence[httpx.Request], count: int = HEADS
) -> SlowClientFigures:
    """Hold `count` connections whose first request has no end, as `half_sent_bodies` does."""
    return await _hold(address, process, requests, count, b"GET /healthz HTTP/1.1\r\nhost: slow\r\n", 0)


async def _hold(
    address: str, process: int, requests: Sequence[httpx.Request], count: int, start: bytes, more: int
) -> SlowClientFigures:
    url = httpx.URL(address)
    _reset_peak(process)
    clients = []
    try:
        for _ in range(count):
            with suppress(OSError):
                clients.append(_SlowClient(*await asyncio.open_connection(url.host, url.port)))
        await asyncio.gather(*(client.send(start, more) for client in clients))
        seconds, failures = await _ask(requests)
        return SlowClientFigures(
            count,
            count - sum(client.is_waiting for client in clients),
            sum(client.sent for client in clients),
            _peak_bytes(process),
            tuple(seconds),
            tuple(failures),
        )
    finally:
        for client in clients:
            client.close()


class _SlowClient:
    """One slow client.

    Attributes:
        sent: The bytes that it has sent.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._answered = asyncio.create_task(reader.read(1))  # or disconnected
        self.sent = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the server has neither answered it nor closed its connection."""
        return not self._answered.done()

    async def send(self, start: bytes, more: int) -> None:
        """Send `start` and `more` bytes after it, until the server answers, closes the connection or reads no more."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SEND_SECONDS):
                self._writer.write(start)
                while self.sent < more and self.is_waiting:
                    piece = _PIECE[: more - self.sent]
                    self._writer.write(piece)
                    await self._writer.drain()
                    self.sent += len(piece)

    def close(self) -> None:
        """Close the connection."""
        self._answered.cancel()
        self._writer.transport.abort()


async def _ask(requests: Sequence[httpx.Request]) -> tuple[list[float], list[str]]:
    seconds, failures = [], []
    for request in requests:
        began = time.monotonic()
        try:
            async with httpx.AsyncClient(timeout=2 * MAX_SECONDS, trust_env=False) as client:
                answer = await client.send(request)
        except httpx.HTTPError as error:
            failures.append(f"{request.url.path}: {type(error).__name__}")
        else:
            seconds.append(time.monotonic() - began)
            if answer.status_code != 200:
                failures.append(f"{request.url.path}: {answer.status_code}")
    return seconds, failures


def _reset_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak_bytes(process: int) -> int:
    """The peak resident memory of a process."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
