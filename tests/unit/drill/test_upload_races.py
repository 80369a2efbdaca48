"""The race of a deletion with an upload of the same bytes, on two gateways that share a Postgres."""

import asyncio
import time
from contextlib import AsyncExitStack

import httpx
import pytest
from pydantic import SecretStr

from drill.upload_races import race
from gateway.app import build_app
from gateway.app_state import AppState
from gateway.clients import Clients
from gateway.settings import GatewaySettings
from servekit.ops.telemetry import Telemetry
from tests.watching import until

RACES = 120


@pytest.fixture
async def states(database_url, tmp_path):
    """Two gateways with connections of their own."""
    settings = GatewaySettings(home=tmp_path, profile="fake", database_url=SecretStr(database_url))
    async with AsyncExitStack() as stack:
        states = []
        for _ in range(2):
            telemetry = Telemetry(settings)
            clients = Clients.connect(settings, telemetry)
            stack.push_async_callback(clients.close)
            states.append(AppState.build(settings, telemetry, clients))
            await states[-1].records.start()
            stack.push_async_callback(states[-1].records.stop)
        await until(lambda: all(state.records.ready for state in states))
        yield states


@pytest.fixture
async def gateways(states):
    """Clients of the gateways."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(build_app(state)), base_url="http://localhost")
            )
            for state in states
        ]


async def test_no_acknowledged_upload_is_lost_and_no_bytes_are_left(gateways, tmp_path):
    outcome = await race(gateways, RACES)
    assert (outcome.acknowledged, outcome.lost) == (RACES, 0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_no_acknowledged_upload_is_lost_beside_sweeps(gateways, states, tmp_path):
    """Both gateways sweep all the time while files of the same bytes are deleted and uploaded."""
    sweeps = 0

    async def sweep(state):
        nonlocal sweeps
        while True:
            await state.files.sweep(time.time())
            sweeps += 1

    sweeping = [asyncio.create_task(sweep(state)) for state in states]
    try:
        outcome = await race(gateways, RACES)
    finally:
        for task in sweeping:
            task.cancel()
        ended = await asyncio.gather(*sweeping, return_exceptions=True)
    assert [type(error) for error in ended] == [asyncio.CancelledError] * 2
    assert sweeps > 2
    assert (outcome.acknowledged, outcome.lost) == (RACES, 0)
    await states[0].files.sweep(time.time())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
