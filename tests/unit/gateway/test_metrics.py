"""The metrics of the gateway: steps by outcome, responses, and the load of services that do not run."""

import asyncio
import base64
import socket

import grpc
import httpx
import pytest
from polyphony.retrieval.v1.retrieval_pb2 import ReplacePointsConfig, ReplacePointsRequest
from polyphony.vision.v1.vision_pb2_grpc import add_VisionServiceServicer_to_server

from gateway.app import build_app
from servekit.errors import Overloaded, Unavailable, Unreachable

from .fakes.vision import Vision

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"a picture").decode()}}
BAD = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"not an image").decode()}}
TEXT = {"type": "text", "text": "What is it?"}


def counted(state, name, **labels):
    return state.telemetry.registry.get_sample_value(name, labels) or 0


def steps(state):
    """The number of steps by name and outcome."""
    (family,) = (
        row for row in state.telemetry.registry.collect() if row.name == "polyphony_pipeline_step_duration_seconds"
    )
    samples = [sample for sample in family.samples if sample.name.endswith("_count")]
    return {(sample.labels["step"], sample.labels["outcome"]): sample.value for sample in samples}


async def ask(http, *content, **headers):
    body = {"messages": [{"role": "user", "content": list(content)}]}
    return await http.post("/v1/chat/completions", json=body, headers=headers)


async def test_steps_and_answers_are_counted_by_outcome(http, state, orders):
    await ask(http, PNG, TEXT)
    await ask(http, PNG, PNG, TEXT)
    assert steps(state) == {("read_text", "ok"): 1, ("read_text", "cached"): 2, ("generate_text", "ok"): 2}
    assert (await ask(http, BAD, TEXT)).status_code == 415
    orders.fail["ReadText"] = Overloaded("too busy", retry_after=1)
    other = {"type": "image_url", "image_url": {"url": PNG["image_url"]["url"] + "AAAA"}}
    await ask(http, other, TEXT)
    orders.fail["GenerateText"] = Unavailable("gone")
    await ask(http, TEXT)
    assert steps(state) == {
        ("read_text", "ok"): 1,
        ("read_text", "cached"): 2,
        ("read_text", "failed"): 1,
        ("read_text", "degraded"): 1,
        ("generate_text", "ok"): 3,
        ("generate_text", "failed"): 1,
    }
    assert counted(state, "polyphony_pipeline_responses_total", degraded="false") == 2
    assert counted(state, "polyphony_pipeline_responses_total", degraded="true") == 1


async def test_a_step_that_overruns_the_deadline_has_failed_and_one_that_is_left_is_not_counted(http, state, orders):
    orders.seconds["GenerateText"] = 30
    assert (await ask(http, TEXT, **{"x-polyphony-timeout": "1"})).status_code == 504
    assert steps(state) == {("generate_text", "failed"): 1}
    asking = asyncio.create_task(ask(http, TEXT))
    orders.arrived["GenerateText"].clear()
    await orders.arrived["GenerateText"].wait()
    asking.cancel()
    await asyncio.wait([asking])
    assert steps(state) == {("generate_text", "failed"): 1}


async def test_offered_load_of_a_service_without_a_process_is_counted_until_it_starts(build, orders):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    state = build(vision_target=f"127.0.0.1:{port}", unserved_request_engine_seconds=7.0)

    def unserved(service):
        return counted(state, "polyphony_unserved_load_engine_seconds_total", service=service)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(state)), base_url="http://localhost") as http:
        assert (await ask(http, PNG, TEXT)).json()["polyphony"]["degraded"] == ["read_text"]
        assert (unserved("vision"), unserved("speech"), unserved("generation")) == (7.0, 0, 0)
        await http.get("/readyz")  # asks every service how it is, and wakes none
        assert unserved("vision") == 7.0
        server = grpc.aio.server()
        add_VisionServiceServicer_to_server(Vision(orders), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        while (await ask(http, PNG, TEXT)).json()["polyphony"]["degraded"]:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        before = unserved("vision")
        orders.fail["ReadText"] = Overloaded("too busy")  # it is there, so this is its own demand
        await ask(http, {"type": "image_url", "image_url": {"url": PNG["image_url"]["url"] + "AAAA"}}, TEXT)
        assert unserved("vision") == before
        await server.stop(0)
        await ask(http, {"type": "image_url", "image_url": {"url": PNG["image_url"]["url"] + "BBBB"}}, TEXT)
        assert 0.8 * 7.0 < unserved("vision") - before < 0.8 * 7.0 + 1.0  # less, by the quick call meanwhile


async def test_an_upload_that_reached_no_process_is_counted(build):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    state = build(retrieval_target=f"127.0.0.1:{port}", unserved_request_engine_seconds=7.0)

    async def requests():
        yield ReplacePointsRequest(config=ReplacePointsConfig(collection="docs"))

    with pytest.raises(Unreachable):
        await state.clients.retrieval.ReplacePoints(requests())
    assert counted(state, "polyphony_unserved_load_engine_seconds_total", service="retrieval") == 7.0


async def test_metrics_over_http_are_open_metrics_where_that_is_accepted(http):
    plain, open_metrics = [
        await http.get("/metrics", headers={"accept": accept})
        for accept in ("text/plain", "application/openmetrics-text")
    ]
    assert plain.headers["content-type"].startswith("text/plain")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.text.endswith("# EOF\n")
