"""The end of a gateway: said at once, and no request lost."""

import asyncio
import time

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fleet.runner import ports
from gateway.build import build as build_gateway

TEXT = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def running(services, settings, serve):
    """`server, url = await running(...)`: a gateway that listens, with these settings."""

    async def start(**changes):
        port = ports.free()
        targets = dict.fromkeys(("vision_target", "speech_target", "generation_target", "retrieval_target"), services)
        fields = {"port": 0, "metrics_port": 0, "http_port": port, **targets, **changes}
        server = await serve(settings.model_copy(update=fields), build_gateway)
        return server, f"http://127.0.0.1:{port}"

    return start


async def once(method, url, **more):
    """A request over a connection of its own."""
    async with httpx.AsyncClient(timeout=10) as client:
        return await client.request(method, url, **more)


async def test_requests_are_accepted_until_the_pre_stop_delay_ends_and_then_drained(running, orders):
    server, url = await running(pre_stop_delay_seconds=1.5, drain_timeout_seconds=10.0)
    orders.seconds["token"] = 2.0  # two tokens: longer than the notice
    running_call = asyncio.create_task(once("POST", f"{url}/v1/chat/completions", json=TEXT))
    await orders.arrived["token"].wait()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        await channel.channel_ready()
        stopping = asyncio.create_task(server.stop())
        began = time.monotonic()
        await asyncio.sleep(0.05)
        ready = await once("GET", f"{url}/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "leaving")
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    while time.monotonic() < began + 0.7:  # of those who have not looked yet
        assert (await once("GET", f"{url}/v1/models")).status_code == 200
    await asyncio.sleep(began + 2.2 - time.monotonic())
    assert not running_call.done()
    with pytest.raises(httpx.ConnectError):
        await once("GET", f"{url}/v1/models")
    answer = await running_call
    assert answer.json()["choices"][0]["message"]["content"] == "It is 42."
    await asyncio.wait_for(stopping, 20)


@pytest.mark.serial
async def test_http_and_grpc_share_one_grace(running, orders):
    server, url = await running(drain_timeout_seconds=2.0)
    orders.seconds["GenerateText"] = 60
    hanging = asyncio.create_task(once("POST", f"{url}/v1/chat/completions", json=TEXT))
    await orders.arrived["GenerateText"].wait()
    began = time.monotonic()
    await server.stop()
    assert 1.9 < time.monotonic() - began < 3.5
    with pytest.raises(httpx.HTTPError):
        (await hanging).raise_for_status()
