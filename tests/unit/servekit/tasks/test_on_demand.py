"""First-use models: loaded once for all who ask, unloaded least recently used first, never while they are used."""

import asyncio
import threading
import time

import numpy as np
import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    OutOfMemory,
    ServeError,
    Unavailable,
)
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.on_demand import MemoryBudget, OnDemandModel
from servekit.tasks.repository import ModelRepository, Models
from tests.watching import until


class Doubling:
    """A model whose runs last until the test lets them end."""

    def __init__(self):
        self.closed = self.running = False
        self.warm_failure = self.close_failure = None
        self.may_run = threading.Event()
        self.may_run.set()

    def warm(self):
        if self.warm_failure:
            raise self.warm_failure

    def close(self):
        assert not self.running
        self.closed = True
        if self.close_failure:
            raise self.close_failure

    def prepare(self, request):
        return request

    def run(self, items, cancellation):
        self.running = True
        assert self.may_run.wait(10)
        self.running = False
        return [2 * item for item in items]


class Process:
    """A process of first-use models of one task."""

    def __init__(self, budget, **memory):
        self.telemetry = Telemetry(ProcessSettings())
        self.loads, self.failure, self.warm_failure = [], None, None
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.in_memory = {}
        shared = MemoryBudget(budget)
        self.on_demand = {name: self._model(name, mb, shared) for name, mb in memory.items()}
        self.models = Models(on_demand=self.on_demand.values())
        self.repository = ModelRepository(self.on_demand.values())

    def _model(self, name, memory_mb, budget):
        spec = ModelSpec(
            id=name, task="double", services=("vision",), runtime="t", title="t", licence="MIT", memory_mb=memory_mb
        )

        async def load():
            self.loads.append(name)
            await self.may_load.wait()
            if self.failure:
                raise self.failure
            self.in_memory[name] = model = Doubling()
            model.warm_failure = self.warm_failure
            scheduler = BatchScheduler(spec, [model], self.telemetry, max_batch_cost=1, max_queue_cost=10)
            network = FakeBackend([TensorSpec("x", np.dtype(np.float32), (-1, 2))], [])
            named = spec.model_copy(update={"id": f"{name}-net"})
            return LoadedModel(scheduler, {named.id: TensorScheduler(named, [network], self.telemetry)})

        return OnDemandModel(spec, load, budget, self.telemetry)

    async def double(self, name, number=1, seconds=60.0):
        enter(RequestContext(cancellation=CancellationToken(time.monotonic() + seconds)))
        async with self.models.acquire(name) as scheduler:
            return await scheduler.submit(number)

    @property
    def resident(self):
        return [name for name, model in self.in_memory.items() if not model.closed]

    def metric(self, name, model):
        return self.telemetry.registry.get_sample_value(f"polyphony_{name}", {"model": model})


@pytest.fixture
async def process():
    opened = []

    def build(budget=float("inf"), **memory):
        opened.append(Process(budget, **memory))
        return opened[-1]

    yield build
    for one in opened:
        one.may_load.set()
        await one.repository.close()
        assert not one.resident


async def test_what_no_request_needs_is_not_loaded(process):
    ours = process(a=1, b=1)
    assert await ours.double("a", 21) == 42
    assert ours.loads == ["a"]
    assert (ours.metric("model_ready", "a"), ours.metric("model_ready", "b")) == (1, None)
    assert ours.repository.ready
    with pytest.raises(RuntimeError, match="acquire"):
        ours.models.get("a")


async def test_concurrent_first_requests_load_once(process):
    ours = process(a=1)
    assert await asyncio.gather(*(ours.double("a", number) for number in range(8))) == [2 * n for n in range(8)]
    assert await ours.double("", 4) == 8
    assert ours.loads == ["a"]


async def test_a_request_that_gives_up_does_not_end_the_load_for_the_others(process):
    ours = process(a=1)
    ours.may_load.clear()
    first = asyncio.create_task(ours.double("a"))
    second = asyncio.create_task(ours.double("a"))
    await asyncio.sleep(0.01)
    assert ours.metric("model_ready", "a") == 0
    first.cancel()
    await asyncio.sleep(0.01)
    ours.may_load.set()
    assert await second == 2
    assert ours.loads == ["a"]


async def test_a_load_that_outlasts_the_deadline_is_unavailable_and_the_next_request_finds_it(process):
    ours = process(a=1)
    ours.may_load.clear()
    with pytest.raises(Unavailable, match="a is still loading") as caught:
        await ours.double("a", seconds=0.05)
    assert caught.value.retry_after >= 1
    with pytest.raises(DeadlineExceeded):
        await ours.double("a", seconds=-1)
    ours.may_load.set()
    assert await ours.double("a") == 2
    assert ours.loads == ["a"]


async def test_the_least_recently_used_model_is_unloaded_where_another_needs_its_memory(process):
    ours = process(300, a=100, b=100, c=100, d=200)
    for name in ("a", "b", "c", "a"):
        await ours.double(name)
    assert ours.loads == ["a", "b", "c"]
    await ours.double("d")
    assert ours.resident == ["a", "d"]
    assert (ours.metric("model_ready", "b"), ours.metric("model_ready", "b-net")) == (None, None)
    assert (ours.metric("queue_depth", "b"), ours.metric("engines", "b")) == (None, None)
    assert await ours.double("b", 3) == 6  # and loaded again
    assert sorted(ours.resident) == ["b", "d"]
    assert ours.metric("model_ready", "b") == 1


async def test_a_model_in_use_is_not_unloaded_and_a_load_waits_for_its_memory(process):
    ours = process(100, a=100, b=100)
    async with ours.models.acquire("a"):
        waiting = asyncio.create_task(ours.double("b"))
        with pytest.raises(Unavailable):
            await ours.double("b", seconds=0.05)
        assert ours.resident == ["a"]
        assert await ours.double("a") == 2
    assert await waiting == 2
    assert ours.resident == ["b"]


async def test_a_run_whose_caller_has_left_ends_before_its_model_is_unloaded(process):
    ours = process(100, a=100, b=100)
    await ours.double("a")
    model = ours.in_memory["a"]
    model.may_run.clear()
    caller = asyncio.create_task(ours.double("a"))
    await until(lambda: model.running)
    caller.cancel()
    other = asyncio.create_task(ours.double("b"))
    await asyncio.sleep(0.05)
    assert ours.resident == ["a"]
    model.may_run.set()
    assert await other == 2
    assert ours.resident == ["b"]


async def test_a_model_that_nobody_waits_for_any_more_takes_no_memory(process):
    ours = process(100, a=100, b=100)
    async with ours.models.acquire("a"):
        with pytest.raises(Unavailable):
            await ours.double("b", seconds=0.05)
    await asyncio.sleep(0.05)
    assert (ours.loads, ours.resident) == (["a"], ["a"])
    assert await ours.double("b") == 2


@pytest.mark.parametrize(
    ("failure", "error"), [(FailedPrecondition("no weights"), FailedPrecondition), (ValueError("secret"), Internal)]
)
async def test_a_failed_load_is_an_error_for_its_callers_and_is_retried_by_the_next(process, failure, error):
    ours = process(100, a=100)
    ours.failure = failure
    outcomes = await asyncio.gather(ours.double("a"), ours.double("a"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [error, error]
    assert all(isinstance(outcome, ServeError) and "secret" not in outcome.message for outcome in outcomes)
    assert ours.metric("model_ready", "a") is None
    ours.failure = None
    assert await ours.double("a") == 2
    assert ours.loads == ["a", "a"]


async def test_a_model_that_does_not_warm_is_closed_and_loaded_again(process):
    ours = process(100, a=100)
    ours.warm_failure = OutOfMemory("no memory")
    with pytest.raises(OutOfMemory):
        await ours.double("a")
    assert ours.resident == []
    ours.warm_failure = None
    assert await ours.double("a") == 2


async def test_a_model_that_fails_to_close_gives_its_memory_back(process):
    ours = process(100, a=100, b=100)
    for name in ("a", "b", "a", "b"):
        assert await ours.double(name, seconds=2) == 2
        if name == "a":
            ours.in_memory[name].close_failure = OSError("the engine does not end")
    assert ours.resident == ["b"]
    assert ours.metric("model_ready", "a") is None


async def test_the_loading_time_is_that_of_the_last_load(process):
    ours = process(100, a=100, b=100)
    for name in ("a", "b", "a"):
        await ours.double(name)
    assert 0 < ours.metric("model_load_duration_seconds", "a") < 5


async def test_the_open_inference_protocol_loads_what_it_names(process):
    ours = process(a=1, b=1)
    assert ours.repository.readiness() == {"a": False, "b": False}
    async with ours.repository.acquire("a-net") as network:
        assert isinstance(network, TensorScheduler)
    assert ours.repository.readiness() == {"a": True, "a-net": True, "b": False}
    for name in ("a-other", "c"):
        with pytest.raises(NotFound):
            async with ours.repository.acquire(name):
                pass
    assert ours.loads == ["a"]
