"""One request to each service, through the gateway."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import numpy as np
from PIL import Image

from fleet.temporary import TemporaryFleet

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class SampleRequest:
    """A request that one service answers.

    Attributes:
        path: The path of the route.
        options: The body, as options of httpx.
    """

    path: str
    options: dict[str, Any]


@cache
def samples() -> dict[str, SampleRequest]:
    """A request for each service, by its name."""
    pixels = np.random.default_rng(0).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    messages = [{"role": "user", "content": "Hello"}]
    return {
        "vision": SampleRequest("/v1/vision/read", {"content": file.getvalue()}),
        "speech": SampleRequest("/v1/audio/speech", {"json": {"input": "Hello"}}),
        "generation": SampleRequest("/v1/chat/completions", {"json": {"messages": messages}}),
        "retrieval": SampleRequest("/v1/embeddings", {"json": {"input": "Hello"}}),
    }


def status_code(gateway: str, service: str) -> int:
    """The status code of a request that the service answers; 0 if the gateway does not answer."""
    sample = samples()[service]
    try:
        return httpx.post(f"{gateway}{sample.path}", timeout=30, **sample.options).status_code
    except httpx.HTTPError:
        return 0


def wait_for(condition: Callable[[], object], seconds: float) -> float:
    """Wait until the condition holds; returns the seconds that it took, or infinity if it did not hold in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def wait_until_ready(fleet: TemporaryFleet, seconds: float = 60.0) -> float:
    """Wait until the gateway and every service serve; returns the seconds that it took, or infinity."""
    gateway = fleet.address("gateway")
    return wait_for(lambda: all(status_code(gateway, service) == 200 for service in samples()), seconds)
