"""Continuous batching on a fake iterative model: sharing, joining, leaving, cancelling, failing, recovering."""

import asyncio
import threading
import time
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import (
    DeadlineExceeded,
    EngineCrashed,
    Internal,
    InvalidArgument,
    OutOfMemory,
    Overloaded,
    Unavailable,
)
from servekit.scheduling import engines
from servekit.scheduling.step import StepScheduler
from servekit.scheduling.step_model import StepOutput
from tests.unit.servekit.conftest import kinds, settled
from tests.watching import until


@dataclass
class Walk:
    """A request: so many steps, each of which depends on the one before and on nothing else."""

    name: str
    steps: int
    size: int = 512
    value: int = 0
    done: int = 0
    threads: set = field(default_factory=set)


@dataclass(frozen=True)
class Progress:
    done: int
    steps: int


class Walker:
    """A step model; a step takes a virtual second however many share it.

    It is paused at first: nothing begins before `joined`, `allow` or `go`, and each step waits for a permit of `allow`
    until `go`.
    """

    def __init__(self, clock):
        self.clock = clock
        self.begun = []
        self.batches = []  # the names that shared each step
        self.may_begin = threading.Event()
        self.permits = threading.Semaphore(0)
        self.free = False  # whether steps need no permit
        self.most = 1000
        self.crashed = self.broken = self.closed = False
        self.bad = set()
        self.finish_gate = threading.Event()
        self.finish_gate.set()

    def warm(self):
        if self.crashed:
            raise EngineCrashed("still dead")

    def close(self):
        self.closed = True

    def begin(self, walk):
        assert self.may_begin.wait(10)
        if walk.steps < 1:
            raise InvalidArgument("steps must be at least 1, got 0", field="steps")
        walk.value = sum(map(ord, walk.name))
        walk.threads.add(threading.current_thread().name)
        self.begun.append(walk.name)
        return walk

    def batch_key(self, walk):
        return walk.size

    def step(self, walks, cancellation):
        while not self.free and not self.permits.acquire(timeout=0.02):
            cancellation.raise_if_cancelled()
        if self.crashed:
            raise EngineCrashed("dead")
        if self.broken:
            raise ValueError("secret")
        if len(walks) > self.most:
            raise OutOfMemory("too many")
        time.sleep(0.001)  # other threads go on meanwhile
        self.clock.now += 1.0
        self.batches.append([walk.name for walk in walks])
        outputs = []
        for walk in walks:
            walk.value = (walk.value * 31 + walk.done) % 1_000_003
            walk.done += 1
            walk.threads.add(threading.current_thread().name)
            outputs.append(StepOutput([Progress(walk.done, walk.steps)], walk.done == walk.steps))
        return [
            InvalidArgument("bad") if walk.name in self.bad else out for walk, out in zip(walks, outputs, strict=True)
        ]

    def finish(self, walk):
        assert self.finish_gate.wait(10)
        walk.threads.add(threading.current_thread().name)
        return walk.name, walk.value

    def allow(self, steps):
        self.may_begin.set()
        for _ in range(steps):
            self.permits.release()

    def go(self):
        self.free = True
        self.may_begin.set()

    def pause(self):
        self.free = False
        self.may_begin.clear()


def alone(name, steps):
    """The result of a walk, computed without a scheduler."""
    value = sum(map(ord, name))
    for done in range(steps):
        value = (value * 31 + done) % 1_000_003
    return name, value


@pytest.fixture
def model(virtual_clock):
    return Walker(virtual_clock)


@pytest.fixture
async def scheduler(model, open_scheduler, virtual_clock):
    """Four requests share a step; a hundred steps may wait."""
    yield await open_scheduler(model, kind=StepScheduler, max_batch_cost=4, max_queue_cost=100, clock=virtual_clock)
    model.go()
    model.finish_gate.set()


async def collect(scheduler, walk, step_cost=1.0):
    return [event async for event in scheduler.stream(walk, steps=walk.steps, step_cost=step_cost)]


def start(scheduler, name, steps, **more):
    return asyncio.ensure_future(collect(scheduler, Walk(name, steps, **more)))


async def joined(scheduler, requests):
    """Wait until so many requests are in the batch, then let them begin."""
    await until(lambda: scheduler.snapshot().running_items == requests)
    scheduler.model.may_begin.set()


def whole(name, steps):
    return [*(Progress(done, steps) for done in range(1, steps + 1)), alone(name, steps)]


async def test_callers_of_5_20_and_50_steps_share_batches_and_leave_one_by_one(model, scheduler):
    calls = [start(scheduler, name, steps) for name, steps in (("a", 5), ("b", 20), ("c", 50))]
    await joined(scheduler, 3)
    model.go()
    assert await settled(*calls) == [whole("a", 5), whole("b", 20), whole("c", 50)]
    assert len(model.batches) <= 50 + 2  # not 75; the first steps may have been without the last to begin
    sizes = [len(batch) for batch in model.batches]
    assert sizes[3:5] == [3, 3]
    assert sizes[-25:] == [1] * 25
    snapshot = scheduler.snapshot()
    assert (snapshot.running_items, snapshot.running_cost, snapshot.queued_items) == (0, 0.0, 0)


async def test_a_caller_joins_a_running_batch_between_two_steps(model, scheduler):
    long = start(scheduler, "long", 50)
    model.allow(10)
    await until(lambda: len(model.batches) == 10)
    short = start(scheduler, "short", 5)
    await asyncio.sleep(0)
    model.allow(1)  # the step that runs; then it is taken, and begins beside the next one
    await until(lambda: "short" in model.begun)
    model.go()
    assert await settled(long, short) == [whole("long", 50), whole("short", 5)]
    first = next(index for index, batch in enumerate(model.batches) if "short" in batch)
    assert first in (11, 12)
    assert model.batches[first : first + 5] == [["long", "short"]] * 5
    assert len(model.batches) == 50


async def test_four_callers_have_at_least_twice_the_throughput_of_one_after_another(model, scheduler, virtual_clock):
    model.go()
    began = virtual_clock()
    for n in range(4):
        await start(scheduler, f"w{n}", 20)
    one_by_one = virtual_clock() - began
    model.pause()
    calls = [start(scheduler, f"w{n}", 20) for n in range(4)]
    await joined(scheduler, 4)
    began = virtual_clock()
    model.go()
    await settled(*calls)
    assert one_by_one == 80
    assert virtual_clock() - began <= 80 / 2


async def test_what_does_not_fit_the_batch_waits_and_joins_when_another_leaves(model, scheduler):
    calls = [start(scheduler, f"w{n}", 10 + n) for n in range(6)]
    await joined(scheduler, 4)
    assert scheduler.snapshot().queued_items == 2
    model.go()
    assert await settled(*calls) == [whole(f"w{n}", 10 + n) for n in range(6)]
    assert max(len(batch) for batch in model.batches) == 4
    assert len(model.batches) < sum(range(10, 16)) / 2


async def test_a_batch_is_filled_by_cost_and_a_larger_request_runs_alone(model, scheduler):
    wide = [asyncio.ensure_future(collect(scheduler, Walk(f"w{n}", 4), step_cost=2.0)) for n in range(3)]
    huge = asyncio.ensure_future(collect(scheduler, Walk("huge", 2), step_cost=9.0))
    await joined(scheduler, 2)
    model.go()
    assert await settled(*wide, huge) == [*(whole(f"w{n}", 4) for n in range(3)), whole("huge", 2)]
    assert [batch for batch in model.batches if "huge" in batch] == [["huge"]] * 2


async def test_only_equal_keys_share_a_step_and_no_key_starves(model, scheduler):
    calls = [start(scheduler, f"{size}-{n}", 6, size=size) for n in range(2) for size in (512, 768)]
    await joined(scheduler, 4)
    model.go()
    await settled(*calls)
    assert all(len({name.split("-")[0] for name in batch}) == 1 for batch in model.batches)
    order = [batch[0].split("-")[0] for batch in model.batches[2:10]]
    assert order.count("512") == order.count("768") == 4  # they alternate
    assert len(model.batches) <= 6 * 2 + 2


async def test_a_cancelled_caller_leaves_within_one_step(model, scheduler):
    staying = start(scheduler, "staying", 20)
    async with aclosing(scheduler.stream(Walk("leaving", 1000), steps=80)) as events:
        model.allow(6)
        async for event in events:
            if event.done == 3:
                break
    await until(lambda: model.permits.acquire(blocking=False) or len(model.batches) >= 6)
    steps = len(model.batches)
    model.go()
    assert await settled(staying) == [whole("staying", 20)]
    assert sum("leaving" in batch for batch in model.batches[steps:]) <= 1
    assert scheduler.snapshot().running_items == 0


async def test_a_deadline_ends_a_request_within_one_step(model, scheduler):
    token = CancellationToken(time.monotonic() + 0.2)

    async def call_late():
        enter(RequestContext(cancellation=token))
        return await collect(scheduler, Walk("late", 50))

    staying, late = start(scheduler, "staying", 20), asyncio.ensure_future(call_late())
    await joined(scheduler, 2)
    model.allow(3)
    await until(lambda: token.cancelled and len(model.batches) == 3)
    model.go()
    assert kinds(await settled(late)) == {DeadlineExceeded}
    assert await settled(staying) == [whole("staying", 20)]
    assert sum("late" in batch for batch in model.batches[3:]) <= 1


async def test_a_result_is_made_beside_the_steps_of_others(model, scheduler):
    model.finish_gate.clear()
    short, long = start(scheduler, "short", 2), start(scheduler, "long", 20)
    await joined(scheduler, 2)
    model.go()
    await until(lambda: len(model.batches) >= 20)  # while the short one's result is being made
    assert not short.done()
    model.finish_gate.set()
    assert await settled(short, long) == [whole("short", 2), whole("long", 20)]


async def test_begin_and_finish_have_threads_of_their_own(model, scheduler):
    model.go()
    walk = Walk("a", 3)
    await collect(scheduler, walk)
    assert len(walk.threads) == 3
    assert threading.main_thread().name not in walk.threads


async def test_a_bad_request_fails_alone(model, scheduler):
    calls = [start(scheduler, "good", 5), start(scheduler, "none", 0), start(scheduler, "bad", 5)]
    model.bad.add("bad")
    model.go()
    good, none, bad = await settled(*calls)
    assert good == whole("good", 5)
    assert (type(none), none.field) == (InvalidArgument, "steps")
    assert type(bad) is InvalidArgument
    assert scheduler.snapshot().running_items == 0


async def test_an_engine_error_fails_the_requests_of_its_step_and_leaks_nothing(model, scheduler):
    model.broken = True
    model.go()
    (outcome,) = await settled(start(scheduler, "a", 5))
    assert (type(outcome), outcome.message) == (Internal, "internal error")
    model.broken = False
    assert await settled(start(scheduler, "b", 5)) == [whole("b", 5)]


async def test_out_of_memory_steps_fewer_at_once(model, scheduler):
    model.most = 2
    calls = [start(scheduler, f"w{n}", 10) for n in range(4)]
    await joined(scheduler, 4)
    model.go()
    assert await settled(*calls) == [whole(f"w{n}", 10) for n in range(4)]
    assert {len(batch) for batch in model.batches[2:]} <= {1, 2}
    model.most = 0
    (outcome,) = await settled(start(scheduler, "one", 3))
    assert type(outcome) is OutOfMemory


async def test_a_full_queue_rejects_at_once_and_nothing_is_begun(model, scheduler):
    calls = [start(scheduler, f"w{n}", 20) for n in range(4)]
    await joined(scheduler, 4)
    waiting = start(scheduler, "waiting", 90)
    await asyncio.sleep(0)
    walk = Walk("rejected", 20)
    with pytest.raises(Overloaded) as rejected:
        await collect(scheduler, walk)
    assert rejected.value.retry_after > 0
    assert walk.threads == set()
    waiting.cancel()
    model.go()
    await settled(*calls, waiting)


async def test_a_deadline_that_cannot_be_met_is_rejected_once_the_time_of_a_step_is_known(
    model, scheduler, virtual_clock
):
    model.go()
    await start(scheduler, "first", 10)  # a second per step
    model.pause()
    calls = [start(scheduler, f"w{n}", 20) for n in range(4)]
    await joined(scheduler, 4)
    assert scheduler.wait_seconds == pytest.approx(20, abs=2)  # 80 steps of one, four at a time
    enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 30)))
    with pytest.raises(Overloaded, match="deadline"):
        await collect(scheduler, Walk("late", 10))
    enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 60)))
    in_time = start(scheduler, "in time", 10)
    model.go()
    assert (await settled(*calls, in_time))[-1] == whole("in time", 10)


async def test_a_batch_with_room_makes_nobody_wait(model, scheduler):
    model.go()
    await start(scheduler, "first", 10)
    model.pause()
    calls = [start(scheduler, f"w{n}", 20) for n in range(3)]
    await joined(scheduler, 3)
    assert scheduler.wait_seconds == 0
    model.go()
    await settled(*calls)


async def test_the_service_time_is_of_a_full_batch(model, scheduler, offered):
    model.go()
    await start(scheduler, "one", 10)
    model.pause()
    calls = [start(scheduler, f"w{n}", 10) for n in range(2)]
    await joined(scheduler, 2)
    model.go()
    await settled(*calls)
    snapshot = scheduler.snapshot()
    assert snapshot.seconds_per_run == pytest.approx(1.0)
    assert snapshot.full_seconds_per_cost == pytest.approx(0.25, rel=0.05)  # four share the second of a step
    before = offered()
    await start(scheduler, "more", 8)
    assert offered() - before == pytest.approx(8 * 0.25, rel=0.05)


async def test_metrics_count_steps_and_the_wait_of_each_request(model, scheduler, telemetry):
    calls = [start(scheduler, f"w{n}", 5) for n in range(2)]
    await joined(scheduler, 2)
    model.go()
    await settled(*calls)

    def value(name):
        return telemetry.registry.get_sample_value(name, {"model": scheduler.spec.id})

    await until(lambda: value("polyphony_batch_size_count") == len(model.batches))
    assert value("polyphony_batch_cost_sum") == 10
    assert value("polyphony_inference_duration_seconds_sum") == pytest.approx(len(model.batches))
    assert value("polyphony_queue_duration_seconds_count") == 2


async def test_a_crashed_engine_fails_its_batch_and_recovers(model, scheduler, monkeypatch):
    monkeypatch.setattr(engines, "RESTART_SECONDS", 0.05)
    calls = [start(scheduler, f"w{n}", 10) for n in range(6)]
    await joined(scheduler, 4)
    model.crashed = True
    model.go()
    assert kinds(await settled(*calls)) == {EngineCrashed}  # the last engine: those who waited, too
    assert not scheduler.ready
    assert kinds(await settled(start(scheduler, "while", 5))) == {EngineCrashed}
    model.crashed = False
    await until(lambda: scheduler.ready)
    assert await settled(start(scheduler, "after", 5)) == [whole("after", 5)]
    assert scheduler.snapshot().running_items == 0


@pytest.mark.parametrize("part", ["begin", "finish"])
async def test_an_engine_that_crashes_outside_of_a_step_recovers(model, scheduler, monkeypatch, part):
    monkeypatch.setattr(engines, "RESTART_SECONDS", 0.05)

    def crash(walk):
        raise EngineCrashed("dead")

    setattr(model, part, crash)
    model.go()
    assert kinds(await settled(start(scheduler, "a", 5))) == {EngineCrashed}
    delattr(model, part)
    await until(lambda: scheduler.ready)
    assert await settled(start(scheduler, "after", 5)) == [whole("after", 5)]


async def test_two_engines_have_a_batch_each(virtual_clock, open_scheduler):
    first, second = Walker(virtual_clock), Walker(virtual_clock)
    scheduler = await open_scheduler(first, second, kind=StepScheduler, max_batch_cost=2, clock=virtual_clock)
    calls = [start(scheduler, f"w{n}", 10) for n in range(4)]
    await until(lambda: scheduler.snapshot().running_items == 4)
    first.go()
    second.go()
    assert await settled(*calls) == [whole(f"w{n}", 10) for n in range(4)]
    assert {len({name for batch in model.batches for name in batch}) for model in (first, second)} == {2}


async def test_closing_ends_running_requests_and_fails_waiting_ones(model, scheduler):
    calls = [start(scheduler, f"w{n}", 10) for n in range(6)]
    await joined(scheduler, 4)
    model.go()
    await asyncio.wait_for(scheduler.close(), 10)
    outcomes = await settled(*calls)
    assert outcomes[:4] == [whole(f"w{n}", 10) for n in range(4)]
    assert kinds(outcomes[4:]) == {Unavailable}
    assert model.closed


async def test_random_cancellation_loses_and_confuses_no_results(model, scheduler):
    model.go()

    async def caller(number):
        call = start(scheduler, f"w{number}", 1 + number % 9)
        if number % 3 == 0:
            await asyncio.sleep(number % 7 / 1000)
            call.cancel()
        return await call

    for wave in range(20):
        numbers = range(wave * 10, wave * 10 + 10)
        for number, outcome in zip(numbers, await settled(*(caller(n) for n in numbers)), strict=True):
            left = number % 3 == 0 and isinstance(outcome, asyncio.CancelledError)
            assert left or outcome == whole(f"w{number}", 1 + number % 9)
    await until(lambda: not scheduler.snapshot().running_items)
    assert scheduler.snapshot().running_cost == 0
