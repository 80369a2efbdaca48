"""Frames that cost more than they bring: fragments without bytes, pings, messages of one byte."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Opcode
from websockets.protocol import State

from gateway.http.websocket import FRAMES_AT_ONCE, MAX_FRAMES, WebSocketProtocol

from .conftest import COMPLETED, LOUD, QUIET, ask, session, until


def frame(opcode, data=b"", *, fin=True):
    """A frame of a client, masked with zeros."""
    assert len(data) < 126
    return bytes([fin << 7 | opcode, 0x80 | len(data)]) + bytes(4) + data


FLOODS = {
    "empty fragments": frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, fin=False) * MAX_FRAMES,
    "fragments of a byte": frame(Opcode.TEXT, fin=False) + frame(Opcode.CONT, b"a", fin=False) * MAX_FRAMES,
    "pings": frame(Opcode.PING) * (MAX_FRAMES + 1),
    "pongs": frame(Opcode.PONG, b"x" * 125) * (MAX_FRAMES + 1),
}


@asynccontextmanager
async def frames_between_turns(monkeypatch):
    """Count the frames that are handled before the event loop does other work; yields the list of these numbers."""
    handle, counts = WebSocketProtocol._handle, [0]

    def counted(self, event):
        counts[-1] += 1
        handle(self, event)

    async def take_turns():
        while True:
            counts.append(0)
            await asyncio.sleep(0)

    monkeypatch.setattr(WebSocketProtocol, "_handle", counted)
    turns = asyncio.create_task(take_turns())
    yield counts
    turns.cancel()


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_client_that_completes_no_message_is_disconnected(url, monkeypatch, flood):
    async with session(url) as ws, frames_between_turns(monkeypatch) as counts:
        ws.transport.write(FLOODS[flood])
        await asyncio.wait_for(ws.wait_closed(), 20)
    assert (ws.close_code, ws.close_reason) == (1008, "a message must have at most 4096 frames, pings included")
    assert MAX_FRAMES < sum(counts) <= MAX_FRAMES + 2
    assert max(counts) <= FRAMES_AT_ONCE


async def test_messages_of_one_byte_are_handled_one_by_one(url, monkeypatch):
    async with session(url) as ws, frames_between_turns(monkeypatch) as counts:
        ws.transport.write(frame(Opcode.TEXT, b"x") * 1000)
        for _ in range(1000):
            assert "invalid JSON" in await asyncio.wait_for(ws.recv(), 20)
        assert ws.state is State.OPEN
    assert max(counts) <= 2


async def test_pings_between_messages_are_answered_and_fragments_joined(url):
    async with session(url) as ws:
        for _ in range(3):
            await asyncio.wait_for(await ws.ping(), 20)
            await ws.send([LOUD[:1000], LOUD[1000:], b""])
        await ws.send(LOUD * 4)
        await ws.send(QUIET * 10)
        await ask(ws, "input_audio_buffer.commit")
        assert await until(ws, COMPLETED)
