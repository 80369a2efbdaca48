"""Waiting for what nothing announces, and what a process's metrics say meanwhile."""

import asyncio
import time
from collections.abc import Callable

import httpx


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something to be so, while the loop runs on."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def eventually(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for something to be so."""
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
