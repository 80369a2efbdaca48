"""Streams: one call a slot, stopped within one step, errors at the right end."""

import asyncio
import contextlib
import threading
import time

import pytest

from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken, RequestContext, enter
from servekit.rpc.errors import DeadlineExceeded, Internal, InvalidArgument, Overloaded
from servekit.scheduling.stream import MAX_PENDING, StreamScheduler
from tests.watching import until

SPEC = ModelSpec(
    id="counter", task="generate_text", service="generation", runtime="test", title="Counts", licence="CC0-1.0",
    memory_mb=1,
)  # fmt: skip


class Counter:
    """Counts upwards, one number a step, looking at the cancellation token between steps."""

    def __init__(self):
        self.steps = 0
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()

    def warm(self): ...

    def close(self): ...

    def count(self, to, cancellation, step_seconds=0.0):
        with self.lock:
            self.running += 1
            self.most_running = max(self.running, self.most_running)
        try:
            for number in range(to):
                if cancellation.cancelled:
                    return
                time.sleep(step_seconds)
                self.steps += 1
                yield number
        finally:
            with self.lock:
                self.running -= 1


@pytest.fixture
def model():
    return Counter()


@pytest.fixture
async def scheduler(model):
    scheduler = StreamScheduler(SPEC, [model] * 2, Telemetry(ProcessSettings()), max_queue_cost=4)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


async def collect(scheduler, work):
    return [event async for event in scheduler.stream(work)]


async def test_events_arrive_in_order(scheduler):
    assert await collect(scheduler, lambda model, cancellation: model.count(500, cancellation)) == list(range(500))


async def test_never_more_calls_than_slots(model, scheduler):
    counts = [collect(scheduler, lambda model, cancellation: model.count(5, cancellation, 0.01)) for _ in range(4)]
    assert await asyncio.gather(*counts) == [list(range(5))] * 4
    assert model.most_running == 2


async def test_a_full_queue_refuses(scheduler):
    counts = [collect(scheduler, lambda model, cancellation: model.count(5, cancellation, 0.05)) for _ in range(9)]
    outcomes = await asyncio.gather(*counts, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert refused
    assert all(outcome.retry_after > 0 for outcome in refused)
    assert [0, 1, 2, 3, 4] in outcomes


async def test_a_reader_that_leaves_stops_the_engine_within_a_step(model, scheduler):
    async with contextlib.aclosing(
        scheduler.stream(lambda model, cancellation: model.count(1000, cancellation, 0.01))
    ) as events:
        async for event in events:
            if event == 3:
                break
    steps = model.steps
    await until(lambda: not model.running)
    assert model.steps <= steps + 2


async def test_the_deadline_stops_the_engine_and_says_so(model, scheduler):
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.1)))
    with pytest.raises(DeadlineExceeded):
        await collect(scheduler, lambda model, cancellation: model.count(1000, cancellation, 0.01))
    assert model.steps < 20


async def test_a_slow_reader_holds_the_engine_back(model, scheduler):
    async with contextlib.aclosing(
        scheduler.stream(lambda model, cancellation: model.count(10_000, cancellation))
    ) as events:
        await anext(events)
        await asyncio.sleep(0.2)
        assert model.steps <= MAX_PENDING + 2


async def test_errors_reach_the_reader_and_bugs_leak_nothing(scheduler):
    def typed(model, cancellation):
        yield 1
        raise InvalidArgument("bad", field="text")

    def bug(model, cancellation):
        yield 1
        raise ValueError("secret")

    with pytest.raises(InvalidArgument, match="bad"):
        await collect(scheduler, typed)
    with pytest.raises(Internal, match=r"^internal error$"):
        await collect(scheduler, bug)
    assert await collect(scheduler, lambda model, cancellation: model.count(2, cancellation)) == [0, 1]


async def test_a_stream_that_is_left_does_not_make_work_look_cheap(scheduler):
    assert [
        event async for event in scheduler.stream(lambda model, cancellation: model.count(10, cancellation, 0.01), 10.0)
    ]
    known = scheduler._seconds_per_cost, scheduler._price
    assert known[0] >= 0.01
    async with contextlib.aclosing(
        scheduler.stream(lambda model, cancellation: model.count(1000, cancellation, 0.01), 1000.0)
    ) as events:
        await anext(events)
    await asyncio.sleep(0.05)
    assert (scheduler._seconds_per_cost, scheduler._price) == pytest.approx(known, rel=0.3)
