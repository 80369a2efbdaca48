"""Requests of the drills, and waiting for the fleet to serve them again."""

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
RECOVERY_SECONDS = 60.0


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


def status_code(fleet: TemporaryFleet, service: str, seconds: float = 30.0) -> int:
    """The status code of a request that the service answers within a time; 0 if the gateway does not answer."""
    sample = samples()[service]
    url = f"{fleet.address('gateway')}{sample.path}"
    try:
        headers = {"x-polyphony-timeout": f"{seconds:g}"}
        return httpx.post(url, headers=headers, timeout=seconds + 2, **sample.options).status_code
    except httpx.HTTPError:
        return 0


def upload(
    fleet: TemporaryFleet, data: bytes, name: str = "drill.bin", mime_type: str = "application/octet-stream"
) -> httpx.Response:
    """The response to an upload of a file."""
    fields = {"purpose": "assistants"}
    files = {"file": (name, data, mime_type)}
    return httpx.post(f"{fleet.address('gateway')}/v1/files", files=files, data=fields, timeout=60)


def download(fleet: TemporaryFleet, file_id: str) -> bytes | None:
    """The bytes of a file; None if it is not found."""
    response = httpx.get(f"{fleet.address('gateway')}/v1/files/{file_id}/content", timeout=60)
    return response.content if response.is_success else None


def wait_for(condition: Callable[[], object], seconds: float = RECOVERY_SECONDS) -> float:
    """Wait until the condition holds; returns the seconds that it took, or infinity if it did not hold in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            return float("inf")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def is_ready(fleet: TemporaryFleet) -> bool:
    """Whether every process runs, and the gateway, its database and every service answer requests."""
    if any(process.state != "running" for process in fleet.processes().values()):
        return False
    try:
        files = httpx.get(f"{fleet.address('gateway')}/v1/files", timeout=30)
    except httpx.HTTPError:
        return False
    return files.is_success and all(status_code(fleet, service) == 200 for service in samples())
