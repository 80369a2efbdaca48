"""A gateway's process while clients hold its connections: the short form of the drill."""

import asyncio
import os
import resource
import sys
from pathlib import Path

import httpx
import pytest

from drill import slow_clients
from fleet.runner import ports
from tests.watching import until

TARGETS = ("VISION", "SPEECH", "GENERATION", "RETRIEVAL")
SOFT, HARD = 256, 512  # descriptors of the process


def _limit_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))


@pytest.fixture
async def gateway(tmp_path, services):
    """The URL and the id of a gateway's process, which uses the fake services of the test."""
    port = ports.free()
    own = {"HOME": str(tmp_path), "PROFILE": "fake", "PORT": "0", "METRICS_PORT": "0", "HTTP_PORT": str(port)}
    own |= {f"{name}_TARGET": services for name in TARGETS}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POLYPHONY_")}
    environment |= {f"POLYPHONY_GATEWAY_{name}": value for name, value in own.items()}
    with (tmp_path / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", env=environment, stderr=log, stdout=log, preexec_fn=_limit_descriptors
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await until(lambda: process.returncode is not None or _answers(url), 60)
        assert process.returncode is None, (tmp_path / "log").read_text()
        yield url, process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _answers(url):
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _descriptor_limit(process):
    return int(Path(f"/proc/{process}/limits").read_text().partition("Max open files")[2].split()[0])


def small_requests(url):
    """Requests of a client that is not slow."""
    chat = {"messages": [{"role": "user", "content": "Hi"}]}
    return [
        httpx.Request("GET", f"{url}/healthz"),
        httpx.Request("POST", f"{url}/v1/chat/completions", json=chat),
        httpx.Request("POST", f"{url}/v1/vision/read", content=b"x" * 300_000),
    ]


async def test_half_sent_bodies_take_neither_the_memory_nor_the_place_of_others(gateway):
    url, process = gateway
    for form in (False, True):
        figures = await slow_clients.half_sent_bodies(url, process, small_requests(url), 40, form=form)
        assert figures.kept, figures
        assert figures.sent_bytes > 500_000_000
        assert figures.peak_bytes < 400 << 20  # 1,800 MB where each body is in memory


async def test_connections_beyond_the_descriptors_leave_room_for_others(gateway):
    url, process = gateway
    assert _descriptor_limit(process) == HARD
    figures = await slow_clients.half_sent_heads(url, process, small_requests(url), 3 * HARD)
    assert figures.kept, figures
    assert figures.refused >= 2 * HARD
    assert len(os.listdir(f"/proc/{process}/fd")) < HARD
