"""The Triton engine against our own server, which speaks the same protocol."""

import asyncio

import numpy as np
import pytest
from polyphony.retrieval.v1 import retrieval_pb2, retrieval_pb2_grpc

from servekit.errors import DeadlineExceeded, EngineCrashed, InvalidArgument, NotFound, Overloaded
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.backends.triton import TritonBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository

INPUTS = (TensorSpec("ids", np.dtype(np.int64), (-1, -1)), TensorSpec("x", np.dtype(np.float16), (-1, 2)))
OUTPUTS = (TensorSpec("y", np.dtype(np.float32), (-1, 4)),)
SPEC = ModelSpec(
    id="net", task="embed", services=("retrieval",), runtime="none", title="a network", licence="MIT", memory_mb=0
)
ARRAYS = {"ids": np.arange(6).reshape(2, 3), "x": np.ones((2, 2), np.float16)}


@pytest.fixture
def far() -> FakeBackend:
    """What the server runs."""
    return FakeBackend(INPUTS, OUTPUTS)


@pytest.fixture
async def server(serve, far):
    async def build(settings, telemetry):
        return ServiceSpec(
            servicer=retrieval_pb2_grpc.RetrievalServiceServicer(),
            services=[retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"]],
            models=ModelRepository([LoadedModel(TensorScheduler(SPEC, [far], telemetry))]),
        )

    return await serve(ProcessSettings(drain_timeout_seconds=0), build)


@pytest.fixture
async def near(server):
    backend = await asyncio.to_thread(TritonBackend, f"127.0.0.1:{server.port}", "net", timeout_seconds=2.0)
    yield backend
    backend.close()


async def test_it_says_and_gives_what_the_network_does(near, far):
    assert (near.inputs, near.outputs) == (INPUTS, OUTPUTS)
    answer = await asyncio.to_thread(near.infer, ARRAYS)
    np.testing.assert_array_equal(answer["y"], far.infer(ARRAYS)["y"])


async def test_arrays_that_do_not_fit_are_refused(near):
    with pytest.raises(InvalidArgument):
        await asyncio.to_thread(near.infer, {**ARRAYS, "x": np.ones((2, 3), np.float16)})


async def test_an_unknown_model_is_not_found(server):
    with pytest.raises(NotFound):
        await asyncio.to_thread(TritonBackend, f"127.0.0.1:{server.port}", "nothing")


async def test_a_full_server_is_overloaded(near, far):
    far.failure = Overloaded("full")
    with pytest.raises(Overloaded):
        await asyncio.to_thread(near.infer, ARRAYS)


async def test_a_slow_server_costs_no_more_than_the_deadline(near, far):
    far.latency_seconds = 3.0
    with pytest.raises(DeadlineExceeded):
        await asyncio.to_thread(near.infer, ARRAYS)


async def test_a_server_that_is_not_there_is_gone(unused_tcp_port):
    with pytest.raises(EngineCrashed):
        await asyncio.to_thread(TritonBackend, f"127.0.0.1:{unused_tcp_port}", "net")


async def test_a_server_that_goes_is_gone(near, server):
    await asyncio.to_thread(near.infer, ARRAYS)
    await server.stop()
    with pytest.raises(EngineCrashed):
        await asyncio.to_thread(near.infer, ARRAYS)
