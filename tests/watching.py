"""Waiting for conditions, and the metrics of a process meanwhile."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds, while the event loop runs."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def eventually(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait until a condition holds, in a thread without an event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)


def total(metrics: str, name: str) -> float:
    """The sum of a metric over its labels, of the process whose metrics are at this address."""
    text = httpx.get(f"http://{metrics}/metrics").text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{"))


def in_flight(metrics: str) -> float:
    """How many calls run in a process."""
    return total(metrics, "polyphony_requests_in_flight")


@contextmanager
def responsive(metrics: str, what: str) -> Iterator[None]:
    """Fail if a process holds its event loop for more than 0.1 s meanwhile.

    That is CPU time of the process, which a busy machine does not lengthen; the lag by the clock is reported with it.
    """
    before = _late(metrics, "busy"), _late(metrics, "lag")
    yield
    held, lagged = _late(metrics, "busy") - before[0], _late(metrics, "lag") - before[1]
    assert held <= 0, f"{what} held the event loop {held:g} times for over 0.1 s, {lagged:g} times by the clock"


def _late(metrics: str, kind: str) -> float:
    """How often a process's event loop was over 0.1 s late, by the CPU time (`busy`) or by the clock (`lag`)."""
    name = f"polyphony_event_loop_{kind}_seconds"
    lines = dict(line.rsplit(" ", 1) for line in httpx.get(f"http://{metrics}/metrics").text.splitlines())
    return float(lines[f"{name}_count"]) - float(lines[f'{name}_bucket{{le="0.1"}}'])
