"""Clients that hold connections: half-sent bodies, heads that do not end, connections without a request."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

_PIECE = b"x" * (256 << 10)
_ANSWER_SECONDS = 20.0  # for a small request while the clients hold their connections
_SETTLE_SECONDS = 1.0  # without a byte taken by the server, after which a client has sent all that it can
_CHAT = ("/v1/chat/completions", "application/json", b'{"messages": [{"role": "user", "content": "')
_UPLOAD = (
    "/v1/files",
    "multipart/form-data; boundary=b",
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n',
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured while slow clients held their connections.

    Attributes:
        clients: The connections that were tried.
        refused: How many of them the server answered or closed by then.
        sent_bytes: The bytes that the server took of all of them.
        peak_bytes: The peak resident memory of the server's process; 0 where its id is not given.
        seconds: The duration of each small request that was answered.
        failures: The small requests that were not answered with a status below 500.
    """

    clients: int
    refused: int
    sent_bytes: int
    peak_bytes: int
    seconds: tuple[float, ...]
    failures: tuple[str, ...]


async def half_sent_bodies(
    host: str,
    port: int,
    *,
    count: int,
    body_bytes: int = 45_000_000,
    process: int = 0,
    form: bool = False,
    requests: Sequence[httpx.Request] = (),
) -> Figures:
    """Send all but the last byte of `count` bodies at once, hold them, and then send small requests of another client.

    Args:
        body_bytes: The stated length of each body.
        process: The id of the server's process, whose memory is measured.
        form: Whether the bodies are uploads of files rather than chats.
        requests: The small requests, sent one after another; `GET /healthz` if there are none.
    """
    path, content_type, start = _UPLOAD if form else _CHAT
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {body_bytes}\r\n\r\n"
    )
    client = (head.encode() + start, body_bytes - len(start) - 1)
    return await _hold(host, port, [client] * count, process, requests)


async def unfinished_heads(
    host: str, port: int, *, count: int, process: int = 0, requests: Sequence[httpx.Request] = ()
) -> Figures:
    """Hold `count` connections that sent the start of a request's head, as `half_sent_bodies` does."""
    return await _hold(host, port, [(b"GET /healthz HTTP/1.1\r\nhost: slow\r\n", 0)] * count, process, requests)


async def _hold(
    host: str, port: int, clients: Sequence[tuple[bytes, int]], process: int, requests: Sequence[httpx.Request]
) -> Figures:
    held: list[_Client] = []
    try:
        for start, more in clients:
            with suppress(OSError):
                held.append(await _Client.connect(host, port, start, more))
        await asyncio.gather(*(client.send() for client in held))
        seconds, failures = await _ask(requests or [httpx.Request("GET", f"http://{host}:{port}/healthz")])
        refused = len(clients) - sum(client.is_open for client in held)
        peak = _peak_bytes(process) if process else 0
        return Figures(len(clients), refused, sum(c.sent for c in held), peak, tuple(seconds), tuple(failures))
    finally:
        for client in held:
            client.close()


class _Client:
    """One slow client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, start: bytes, more: int) -> None:
        self._reader, self._writer = reader, writer
        self._start, self._more = start, more
        self.sent = 0
        writer.transport.set_write_buffer_limits(high=0)  # `drain` returns once the kernel has the bytes

    @classmethod
    async def connect(cls, host: str, port: int, start: bytes, more: int) -> "_Client":
        """Connect; `send` sends `start` and `more` bytes after it."""
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, start, more)

    @property
    def is_open(self) -> bool:
        """Whether the server has neither answered nor closed the connection."""
        return not (self._reader.at_eof() or self._reader._buffer or self._writer.transport.is_closing())  # type: ignore[attr-defined]

    async def send(self) -> None:
        """Send everything, until the server takes no more, answers or closes the connection."""
        with suppress(OSError, TimeoutError):
            await self._write(self._start)
            while self.sent < self._more and self.is_open:
                await self._write(_PIECE[: self._more - self.sent])

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(_SETTLE_SECONDS * 10):
            self._writer.write(data)
            await self._writer.drain()
        self.sent += len(data)

    def close(self) -> None:
        """Close the connection."""
        self._writer.transport.abort()


async def _ask(requests: Sequence[httpx.Request]) -> tuple[list[float], list[str]]:
    seconds, failures = [], []
    for request in requests:
        began = time.monotonic()
        try:
            async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
                answer = await client.send(request)
        except httpx.HTTPError as error:
            failures.append(f"{request.url.path}: {type(error).__name__}")
            continue
        seconds.append(time.monotonic() - began)
        if answer.status_code >= 500 or answer.status_code == 429:
            failures.append(f"{request.url.path}: {answer.status_code} {answer.text[:200]}")
    return seconds, failures


def _peak_bytes(process: int) -> int:
    """The peak resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise RuntimeError(f"no VmHWM of process {process}")
