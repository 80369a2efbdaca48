"""A gateway on a real socket, and live sessions with it."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import connect

from gateway.app import build_app
from gateway.http.server import WebServer

LOUD, QUIET = b"\x00\x10" * 2400, bytes(4800)  # a tenth of a second of 24 kHz


@pytest.fixture
async def serve_gateway(build):
    """`port, state = await serve_gateway(...)`: a listening gateway."""
    running = []

    async def start(**changes):
        state = build(http_port=0, drain_timeout_seconds=2, **changes)
        web = WebServer(build_app(state), state.settings, state.telemetry)
        await web.start()
        running.append(web)
        return web, state

    yield start
    for web in running:
        await web.stop()


@pytest.fixture
async def gateway(serve_gateway):
    return await serve_gateway()


@pytest.fixture
def url(gateway):
    return f"ws://127.0.0.1:{gateway[0].port}/v1/realtime"


@asynccontextmanager
async def session(url, **options):
    """An open session, its opening event read."""
    async with connect(url, **options) as ws:
        opened = json.loads(await ws.recv())
        assert opened["type"] == "session.created"
        yield ws


async def ask(ws, kind, **fields):
    await ws.send(json.dumps({"type": kind, **fields}))


async def until(ws, kind):
    """The events up to the first of a kind."""
    events = []
    async with asyncio.timeout(20):
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await ws.recv()))
    return events


COMPLETED = "conversation.item.input_audio_transcription.completed"
DELTA = "conversation.item.input_audio_transcription.delta"
PARTIAL = "polyphony.input_audio_transcription.partial"
