"""Lanes under attack: whatever dies, and whenever, no caller is left waiting."""

import asyncio
import threading
import time

import pytest

from servekit import engines
from servekit.batching import BatchLane
from servekit.call import Call, Flag, enter
from servekit.catalogue import ModelCard
from servekit.errors import Cancelled, DeadlineExceeded, EngineGone, Internal, InvalidArgument, Overloaded, Unavailable
from servekit.settings import ProcessSettings
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry

CARD = ModelCard(id="m", task="embed", service="retrieval", loader="t", title="t", licence="CC0-1.0", memory_mb=1)


class Panic(BaseException):
    """As an extension written in Rust raises: no Exception."""


class Script:
    """An engine whose steps a test replaces."""

    def __init__(self):
        self.closed = False

    def warm(self): ...

    def close(self):
        self.closed = True

    def prepare(self, request):
        return request

    def run(self, items, flag):
        return [item * 2 for item in items]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engines, "REVIVAL_SECONDS", 0.05)


@pytest.fixture
def model():
    return Script()


@pytest.fixture
async def open_lane():
    opened = []

    async def open_lane(*models, kind=BatchLane, max_queue_cost=1000, **more):
        if kind is BatchLane:
            more = {"max_batch_cost": 8, **more}
        lane = kind(CARD, models, Telemetry(ProcessSettings()), max_queue_cost=max_queue_cost, **more)
        await lane.start()
        opened.append(lane)
        return lane

    yield open_lane
    for lane in opened:
        await asyncio.wait_for(lane.close(), 5)


async def settled(*calls):
    """What became of each; fails where one hangs."""
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)


async def until_ready(lane):
    for _ in range(200):
        if lane.ready:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the engine does not come back")


def kinds(outcomes):
    return {type(outcome) for outcome in outcomes}


@pytest.mark.parametrize("prepares", [True, False])
@pytest.mark.parametrize("step", ["prepare", "run"])
async def test_a_panic_fails_its_callers_and_not_the_lane(model, open_lane, step, prepares):
    def panic(*_):
        raise Panic("secret")

    lane = await open_lane(model, prepares=prepares)
    setattr(model, step, panic)
    (outcome,) = await settled(lane.submit(1))
    assert (type(outcome), outcome.message) == (Internal, "internal error")
    delattr(model, step)
    assert await settled(lane.submit(1)) == [2]


async def test_a_panic_ends_a_stream_and_not_the_lane(model, open_lane):
    lane = await open_lane(model, kind=StreamLane)

    def panics(model, flag):
        yield 1
        raise Panic("secret")

    async def collect(work):
        return [event async for event in lane.stream(work, cost=0.0)]

    (outcome,) = await settled(collect(panics))
    assert type(outcome) is Internal
    assert await settled(*(collect(lambda model, flag: iter("ab")) for _ in range(3))) == [["a", "b"]] * 3


async def test_an_engine_that_dies_while_items_are_prepared_leaves_nobody_waiting(model, open_lane):
    lane = await open_lane(model)
    preparing, died = threading.Event(), threading.Event()

    def run(items, flag):
        assert preparing.wait(5)
        raise EngineGone("dead")

    def prepare(request):
        if request == 2:
            preparing.set()
            assert died.wait(5)  # the engine dies while this one is in nobody's queue
        return request

    def warm():
        raise EngineGone("still dead")

    model.run, model.prepare, model.warm = run, prepare, warm
    first = asyncio.ensure_future(lane.submit(1))
    await asyncio.sleep(0.02)
    second = asyncio.ensure_future(lane.submit(2))
    outcomes = await settled(first)
    assert not lane.ready
    died.set()
    outcomes += await settled(second)
    assert kinds(outcomes) == {EngineGone}


async def test_one_dead_engine_of_two_slows_but_fails_only_its_batch(open_lane):
    good, bad = Script(), Script()
    bad_took = threading.Event()

    def die(items, flag):
        bad_took.set()
        raise EngineGone("dead")

    def warm():
        if bad_took.is_set():
            raise EngineGone("still dead")

    bad.run, bad.warm = die, warm
    good.run = lambda items, flag: (bad_took.wait(5), [item * 2 for item in items])[1]
    lane = await open_lane(good, bad, max_batch_cost=1)
    outcomes = await settled(*(lane.submit(n) for n in range(50)))
    assert lane.ready
    assert sum(type(outcome) is EngineGone for outcome in outcomes) == 1
    assert await settled(*(lane.submit(1) for _ in range(10))) == [2] * 10


async def test_an_engine_comes_back_from_any_failure_to_revive(model, open_lane):
    lane = await open_lane(model)
    failures = [RuntimeError("driver"), OSError("device"), EngineGone("still dead")]

    def die(items, flag):
        raise EngineGone("dead")

    def warm():
        if failures:
            raise failures.pop()

    model.run, model.warm = die, warm
    assert kinds(await settled(lane.submit(1))) == {EngineGone}
    del model.run
    await until_ready(lane)
    assert failures == []
    assert await settled(lane.submit(1)) == [2]


async def test_engines_that_die_and_revive_under_load_lose_nobody(open_lane):
    def make():
        model = Script()
        runs = 0

        def run(items, flag):
            nonlocal runs
            runs += 1
            if runs % 5 == 0:
                raise EngineGone("dead")
            return [item * 2 for item in items]

        model.run = run
        return model

    lane = await open_lane(make(), make())
    end = time.monotonic() + 0.8
    counts = {"good": 0, "gone": 0}

    async def caller(number):
        while time.monotonic() < end:
            try:
                assert await lane.submit(number) == number * 2
                counts["good"] += 1
            except EngineGone:
                counts["gone"] += 1
                await asyncio.sleep(0.005)

    assert await settled(*(caller(number) for number in range(32))) == [None] * 32
    assert min(counts.values()) > 0


@pytest.mark.parametrize("prepares", [True, False])
async def test_closing_under_load_answers_everybody(open_lane, prepares):
    model = Script()
    model.run = lambda items, flag: (time.sleep(0.02), items)[1]
    model.prepare = lambda request: (time.sleep(0.005), request)[1]
    lane = await open_lane(model, model, prepares=prepares)
    calls = [asyncio.ensure_future(lane.submit(number)) for number in range(60)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait_for(lane.close(), 5)
    outcomes = await settled(*calls)
    assert kinds(outcomes) == {int, Unavailable}
    assert model.closed
    assert kinds(await settled(lane.submit(1))) == {Unavailable}


async def test_closing_ends_an_engine_that_does_not_come_back(model, open_lane):
    lane = await open_lane(model)

    def die(*_):
        raise EngineGone("dead")

    model.run = model.warm = die
    await settled(lane.submit(1))
    await asyncio.wait_for(lane.close(), 5)
    assert model.closed


async def test_the_loop_runs_on_while_an_engine_closes(model, open_lane):
    model.close = lambda: time.sleep(0.3)
    lane = await open_lane(model)
    closing = asyncio.ensure_future(lane.close())
    longest, before = 0.0, time.monotonic()
    while not closing.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert longest < 0.2


async def test_callers_that_left_take_no_room_from_those_who_stay(model, open_lane):
    began, may_end = threading.Event(), threading.Event()
    model.run = lambda items, flag: (began.set(), may_end.wait(5), items)[2]
    lane = await open_lane(model, max_queue_cost=10, max_batch_cost=1, prepares=False)
    first = asyncio.ensure_future(lane.submit(1))
    await asyncio.to_thread(began.wait, 5)
    crowd = [asyncio.ensure_future(lane.submit(n)) for n in range(10)]
    await asyncio.sleep(0)
    assert kinds(await settled(lane.submit(0))) == {Overloaded}
    for caller in crowd:
        caller.cancel()
    await settled(*crowd)
    await asyncio.sleep(0.06)
    late = asyncio.ensure_future(lane.submit(3))
    await asyncio.sleep(0)
    may_end.set()
    assert await settled(first, late) == [1, 3]


async def test_random_cancellation_loses_and_crosses_nothing(open_lane):
    model = Script()
    model.run = lambda items, flag: (time.sleep(0.001), [item * 2 for item in items])[1]
    lane = await open_lane(model, model)

    async def caller(number):
        call = asyncio.ensure_future(lane.submit(number))
        if number % 3 == 0:
            await asyncio.sleep(number % 7 / 1000)
            call.cancel()
        return await call

    outcomes = await settled(*(caller(number) for number in range(600)))
    for number, outcome in enumerate(outcomes):
        assert outcome == number * 2 or (number % 3 == 0 and isinstance(outcome, asyncio.CancelledError))
    assert (len(lane._queue), lane._queue.cost, lane._running_cost) == (0, 0.0, 0.0)


async def test_whoever_makes_a_batch_fail_fails_alone(open_lane):
    model = Script()
    sizes = []

    def run(items, flag):
        sizes.append(len(items))
        if 13 in items:
            raise InvalidArgument("13 is out of bounds", field="number")
        return items

    began, may_end = threading.Event(), threading.Event()
    model.run = lambda items, flag: (began.set(), may_end.wait(5), items)[2]
    lane = await open_lane(model)
    first = asyncio.ensure_future(lane.submit(1))
    await asyncio.to_thread(began.wait, 5)
    rest = [asyncio.ensure_future(lane.submit(n)) for n in range(10, 18)]
    await asyncio.sleep(0.05)
    model.run = run
    may_end.set()
    outcomes = await settled(first, *rest)
    assert [type(outcome) for outcome in outcomes] == [int] * 4 + [InvalidArgument] + [int] * 4
    assert max(sizes) > 1


async def test_a_batch_knows_whether_its_callers_left_or_are_late(model, open_lane):
    verdicts = []

    def run(items, flag):
        while not flag.is_set():
            time.sleep(0.005)
        try:
            flag.check()
        except Exception as error:
            verdicts.append(type(error))
            raise

    model.run = run
    lane = await open_lane(model)

    async def late():
        enter(Call(flag=Flag(time.monotonic() + 0.1)))
        return await lane.submit(1)

    assert kinds(await settled(late())) == {DeadlineExceeded}
    caller = asyncio.ensure_future(lane.submit(1))
    await asyncio.sleep(0.05)
    caller.cancel()
    await asyncio.sleep(0.05)
    assert verdicts == [DeadlineExceeded, Cancelled]


async def test_a_caller_whose_deadline_the_queue_exceeds_is_refused_at_once(model, open_lane):
    model.run = lambda items, flag: (time.sleep(0.1), items)[1]
    lane = await open_lane(model, max_batch_cost=1)
    await lane.submit(1)
    crowd = [asyncio.ensure_future(lane.submit(n)) for n in range(10)]
    await asyncio.sleep(0.02)
    enter(Call(flag=Flag(time.monotonic() + 0.3)))
    began = time.monotonic()
    (outcome,) = await settled(lane.submit(1))
    assert type(outcome) is Overloaded
    assert time.monotonic() - began < 0.05
    assert outcome.retry_after == pytest.approx(1.0, rel=0.4)
    assert await settled(*crowd) == list(range(10))


async def test_an_engine_that_does_not_start_says_so(model):
    def warm():
        raise EngineGone("no device")

    model.warm = warm
    lane = BatchLane(CARD, [model], Telemetry(ProcessSettings()), max_batch_cost=1, max_queue_cost=1)
    with pytest.raises(EngineGone, match="no device"):
        await lane.start()
    assert not lane.ready
    assert kinds(await settled(lane.submit(1))) == {EngineGone}
