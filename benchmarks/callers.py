"""A load generator that takes little CPU, so that a benchmark on a small machine measures the server.

A general client takes as much CPU as the server. This one encodes its request once and parses only the frames of
responses. It is one process with a few connections and many callers.
"""

import argparse
import json
import selectors
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CONNECTIONS = 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
MAX_CONCURRENT_STREAMS = 3
FIRST_STREAMS = 100  # until the server's SETTINGS frame states how many it allows
FIRST_WINDOW = 65_535
FRAME_BYTES = 16_384
WIDE_WINDOW = 2**30


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """The calls of one measurement.

    Attributes:
        seconds: The duration of the measurement.
        good: The number of calls that returned a message, within the deadline if there is one.
        other: The number of all other calls that ended.
        latencies: The latency of each good call in seconds, from the time at which it was due.
        cpu_seconds: The CPU time of this process.
    """

    seconds: float
    good: int
    other: int
    latencies: list[float]
    cpu_seconds: float


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _headers(path: str) -> bytes:
    """The headers of a gRPC request, in HPACK without indexing or compression."""
    block = b"\x83\x86\x01" + _literal("bench") + b"\x04" + _literal(path) + b"\x0f\x10" + _literal("application/grpc")
    return block + b"\x00" + _literal("te") + _literal("trailers")


def _timeout(seconds: float) -> bytes:
    """The header with the remaining time of a deadline."""
    return b"" if seconds == float("inf") else b"\x00" + _literal("grpc-timeout") + _literal(f"{int(seconds * 1000)}m")


class GrpcConnection:
    """Many unary gRPC calls of one message over one connection.

    As in every gRPC client, calls beyond the server's limit of streams wait, and each call ends at its deadline.

    Args:
        address: `host:port`.
        path: `/package.Service/Method`.
        message: The serialised request; less than 64 KiB, the initial flow-control window of a stream.
        timeout_seconds: The timeout of a call; 0 for none.
    """

    def __init__(self, address: str, path: str, message: bytes, timeout_seconds: float = 0.0) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._headers = _headers(path)
        self._message = b"\x00" + struct.pack(">I", len(message)) + message
        self._pieces = [self._message[at : at + FRAME_BYTES] for at in range(0, len(self._message), FRAME_BYTES)]
        self._due: dict[int, float] = {}
        self._answered: set[int] = set()
        self._timeout = timeout_seconds or float("inf")
        self._waiting: deque[float] = deque()
        self._late = 0
        self._received = bytearray()
        self._stream = 1
        self._allowed = FIRST_STREAMS
        self._window = FIRST_WINDOW
        settings = struct.pack(">HIHI", 4, WIDE_WINDOW, 5, 2**24 - 1)
        self.socket.sendall(
            PREFACE + _frame(SETTINGS, 0, 0, settings) + _frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WIDE_WINDOW))
        )

    def call(self, due: float) -> None:
        """Queue a call that was due at `due`."""
        self._waiting.append(due)

    def flush(self) -> None:
        """Send the queued calls that the server's limits allow."""
        out = []
        now = time.perf_counter()
        while self._waiting and now > self._waiting[0] + self._timeout:
            self._waiting.popleft()
            self._late += 1
        while self._waiting and self._window >= len(self._message) and len(self._due) < self._allowed:
            self._window -= len(self._message)
            due = self._waiting.popleft()
            headers = self._headers + _timeout(due + self._timeout - now)
            out.append(_frame(HEADERS, END_HEADERS, self._stream, headers))
            out += [_frame(DATA, 0, self._stream, piece) for piece in self._pieces[:-1]]
            out.append(_frame(DATA, END_STREAM, self._stream, self._pieces[-1]))
            self._due[self._stream] = due
            self._stream += 2
        if out:
            self.socket.sendall(b"".join(out))

    def ended(self) -> Iterator[tuple[float, bool]]:
        """Yield of each call that has ended when it was due and whether it returned a message."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server hung up")
        self._received += piece
        for _ in range(self._late):
            yield 0.0, False
        self._late = 0
        at = 0
        while len(self._received) - at >= 9:
            size = int.from_bytes(self._received[at : at + 3], "big")
            if len(self._received) - at < 9 + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", self._received, at + 3)
            if kind == DATA:
                self._answered.add(stream)
            elif kind in (SETTINGS, PING) and not flags & ACK:
                if kind == SETTINGS:
                    settings = dict(struct.iter_unpack(">HI", self._received[at + 9 : at + 9 + size]))
                    self._allowed = settings.get(MAX_CONCURRENT_STREAMS, self._allowed)
                echo = bytes(self._received[at + 9 : at + 9 + size]) if kind == PING else b""
                self.socket.sendall(_frame(kind, ACK, 0, echo))
            elif kind == WINDOW_UPDATE and stream == 0:
                self._window += int.from_bytes(self._received[at + 9 : at + 13], "big")
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                if (due := self._due.pop(stream, None)) is not None:
                    yield due, stream in self._answered
                self._answered.discard(stream)
            at += 9 + size
        del self._received[:at]


class HttpConnection:
    """One HTTP/1.1 connection of one caller, which repeats the same call; the methods are those of `GrpcConnection`."""

    def __init__(self, address: str, path: str, message: bytes) -> None:
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n"
        self._request = f"{head}content-length: {len(message)}\r\n\r\n".encode() + message
        self._waiting = False
        self._due = 0.0
        self._received = b""

    def call(self, due: float) -> None:
        self._due, self._waiting = due, True

    def flush(self) -> None:
        if self._waiting:
            self._waiting = False
            self.socket.sendall(self._request)

    def ended(self) -> Iterator[tuple[float, bool]]:
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise ConnectionError("the server hung up")
        self._received += piece
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if blank and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]):
            self._received = b""
            yield self._due, head.startswith(b"HTTP/1.1 200")


Connections = list[GrpcConnection] | list[HttpConnection]


def closed_loop(connections: Connections, callers: int, warm_seconds: float, seconds: float) -> CallOutcome:
    """Measure callers that each call again as soon as they have a response."""
    now = time.perf_counter()
    for caller in range(callers):
        connections[caller % len(connections)].call(now)
    return _run(connections, warm_seconds, seconds, again=True)


def open_loop(
    connections: Connections, rate: float, deadline_seconds: float, warm_seconds: float, seconds: float
) -> CallOutcome:
    """Measure calls that begin at a fixed rate, whether or not earlier ones have ended."""
    return _run(connections, warm_seconds, seconds, rate=rate, deadline=deadline_seconds)


def _run(
    connections: Connections,
    warm_seconds: float,
    seconds: float,
    again: bool = False,
    rate: float = 0.0,
    deadline: float = float("inf"),
) -> CallOutcome:
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.flush()
    began = time.perf_counter()
    start, end = began + warm_seconds, began + warm_seconds + seconds
    issued, latencies, other, cpu = 0, [], 0, 0.0
    while (now := time.perf_counter()) < end:
        if not cpu and now >= start:
            cpu = time.process_time()
        if rate:
            while (due := began + issued / rate) <= now:
                connections[issued % len(connections)].call(due)
                issued += 1
            for connection in connections:
                connection.flush()
        for key, _ in selector.select(0.001 if rate else 0.1):
            connection = key.data
            for due, good in connection.ended():
                now = time.perf_counter()
                if again:
                    connection.call(now)
                if now < start:
                    continue
                if good and now - due <= deadline:
                    latencies.append(now - due)
                else:
                    other += 1
            connection.flush()
    return CallOutcome(seconds, len(latencies), other, latencies, time.process_time() - cpu)


def main() -> None:
    """Call a server as the command line states, and print the `CallOutcome` as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("path", help="/package.Service/Method, or the path of an HTTP/1.1 POST")
    parser.add_argument("message", type=Path, help="a file with the request's bytes")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0 for callers that wait for answers")
    parser.add_argument("--deadline", type=float, default=0.0)
    parser.add_argument("--warm", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--http1", action="store_true")
    options = parser.parse_args()
    message = options.message.read_bytes()
    connections: Connections
    if options.http1:
        connections = [HttpConnection(options.address, options.path, message) for _ in range(options.callers)]
    else:
        connections = [
            GrpcConnection(options.address, options.path, message, options.deadline) for _ in range(CONNECTIONS)
        ]
    if options.rate:
        outcome = open_loop(connections, options.rate, options.deadline, options.warm, options.seconds)
    else:
        outcome = closed_loop(connections, options.callers, options.warm, options.seconds)
    json.dump(asdict(outcome), sys.stdout)


if __name__ == "__main__":
    main()
