"""Streams: one call per slot, prepared after admission, stopped within one step, errors to their caller alone."""

import asyncio
import contextlib
import threading
import time

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, Internal, InvalidArgument, Overloaded
from servekit.models.catalogue import ModelSpec
from servekit.scheduling.stream import MAX_PENDING, StreamScheduler
from tests.watching import until

SPEC = ModelSpec(
    id="counter", task="generate_text", services=("generation",), runtime="test", title="Counts", licence="CC0-1.0",
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
async def scheduler(model, telemetry, virtual_clock):
    """Two slots, a queue of 4; its time passes only where a test advances it."""
    scheduler = StreamScheduler(SPEC, [model] * 2, telemetry, max_queue_cost=4, clock=virtual_clock)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


@pytest.fixture
async def busy(scheduler):
    """Both slots are taken until the test sets this."""
    may_end = threading.Event()

    def wait(model, cancellation):
        yield "started"
        assert may_end.wait(10)

    streams = [scheduler.stream(wait) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    yield may_end
    may_end.set()
    for stream in streams:
        await stream.aclose()


async def collect(scheduler, work):
    return [event async for event in scheduler.stream(work)]


async def test_events_arrive_in_order(scheduler):
    assert await collect(scheduler, lambda model, cancellation: model.count(500, cancellation)) == list(range(500))


async def test_at_most_as_many_calls_run_as_there_are_slots(model, scheduler):
    counts = [collect(scheduler, lambda model, cancellation: model.count(5, cancellation, 0.01)) for _ in range(4)]
    assert await asyncio.gather(*counts) == [list(range(5))] * 4
    assert model.most_running == 2


async def test_a_full_queue_rejects(scheduler):
    counts = [collect(scheduler, lambda model, cancellation: model.count(5, cancellation, 0.05)) for _ in range(9)]
    outcomes = await asyncio.gather(*counts, return_exceptions=True)
    rejected = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert rejected
    assert all(outcome.retry_after > 0 for outcome in rejected)
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


async def test_an_engine_waits_for_a_slow_reader(model, scheduler):
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


async def test_a_stream_that_is_left_does_not_shorten_the_service_time(scheduler, virtual_clock):
    def work(model, cancellation):
        for number in range(10):
            virtual_clock.now += 0.01
            cancellation.raise_if_cancelled()
            yield number

    assert [event async for event in scheduler.stream(work, 10.0)] == list(range(10))
    known = scheduler.snapshot()
    assert known.seconds_per_cost == pytest.approx(0.01)
    async with contextlib.aclosing(
        scheduler.stream(lambda model, cancellation: model.count(1000, cancellation, 0.001), 1000.0)
    ) as events:
        await anext(events)
    await until(lambda: not scheduler.snapshot().runs)
    assert scheduler.snapshot() == known


def counting(to, cost):
    """Preparation that returns work which counts to a number."""
    return lambda model: (lambda model, cancellation: model.count(to, cancellation), cost)


async def test_a_call_is_prepared_beside_the_loop_before_its_work(scheduler):
    threads = []

    def prepare(model):
        threads.append(threading.current_thread())
        return counting(3, 2.0)(model)

    assert [event async for event in scheduler.stream_prepared(prepare, 1.0)] == [0, 1, 2]
    assert threads != [threading.main_thread()]


async def test_a_rejected_call_is_not_prepared(scheduler, busy):
    prepared = []
    waiting = asyncio.ensure_future(collect(scheduler, lambda model, cancellation: iter("ab")))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await anext(scheduler.stream_prepared(prepared.append, 3.5))
    assert prepared == []
    busy.set()
    assert await waiting == ["a", "b"]


async def test_a_call_that_is_prepared_counts_as_queued_by_its_estimate_then_by_its_exact_cost(scheduler, busy):
    may_prepare = threading.Event()

    def prepare(model):
        assert may_prepare.wait(10)
        return counting(2, 1.5)(model)

    call = asyncio.ensure_future(anext(scheduler.stream_prepared(prepare, 3.0)))
    await asyncio.sleep(0)
    snapshot = scheduler.snapshot()
    assert (snapshot.queued_items, snapshot.queued_cost) == (1, 3.0)
    with pytest.raises(Overloaded):
        await anext(scheduler.stream_prepared(counting(2, 1.0), 2.0))
    may_prepare.set()
    await until(lambda: scheduler.snapshot().queued_cost == 1.5)
    assert scheduler.snapshot().queued_items == 1
    busy.set()
    assert await call == 0


async def test_a_call_that_cannot_be_prepared_fails_alone(scheduler, busy):
    def bad(model):
        raise InvalidArgument("bad", field="prompt")

    def bug(model):
        raise ValueError("secret")

    good = asyncio.ensure_future(anext(scheduler.stream_prepared(counting(2, 1.0), 1.0)))
    with pytest.raises(InvalidArgument, match="bad"):
        await anext(scheduler.stream_prepared(bad, 1.0))
    with pytest.raises(Internal, match=r"^internal error$"):
        await anext(scheduler.stream_prepared(bug, 1.0))
    assert scheduler.snapshot().queued_cost == 1.0
    busy.set()
    assert await good == 0


async def test_a_caller_that_leaves_while_it_is_prepared_takes_no_slot(model, scheduler, busy):
    may_prepare = threading.Event()

    def prepare(model):
        assert may_prepare.wait(10)
        return counting(2, 1.0)(model)

    leaving = asyncio.ensure_future(anext(scheduler.stream_prepared(prepare, 1.0)))
    await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert scheduler.snapshot().queued_items == 0
    may_prepare.set()
    busy.set()
    assert await collect(scheduler, lambda model, cancellation: iter("ab")) == ["a", "b"]
    assert model.steps == 0


async def test_offered_load_is_the_exact_cost_where_that_is_more(scheduler, virtual_clock, offered):
    def work(model, cancellation):
        virtual_clock.now += 1.0
        yield 1

    await collect(scheduler, work)  # a second per cost
    await anext(scheduler.stream_prepared(lambda model: (lambda model, cancellation: iter("a"), 3.0), 2.0))
    assert offered(SPEC.id) == 3.0
