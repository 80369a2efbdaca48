"""Engines that die, come back and close: whenever they do, no caller is left waiting."""

import asyncio
import threading
import time

import pytest

from servekit import engines
from servekit.batching import BatchLane
from servekit.errors import EngineGone, Unavailable
from servekit.settings import ProcessSettings
from servekit.telemetry import Telemetry

from .conftest import DOUBLER, Doubler, kinds, settled


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engines, "REVIVAL_SECONDS", 0.05)


async def until_ready(lane):
    for _ in range(200):
        if lane.ready:
            return
        await asyncio.sleep(0.01)
    pytest.fail("the engine does not come back")


async def test_an_engine_that_dies_while_items_are_prepared_leaves_nobody_waiting(model, open_lane):
    lane = await open_lane(model)
    running, preparing, died = threading.Event(), threading.Event(), threading.Event()

    def run(items, flag):
        running.set()
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
    assert await asyncio.to_thread(running.wait, 5)
    second = asyncio.ensure_future(lane.submit(2))
    outcomes = await settled(first)
    assert not lane.ready
    died.set()
    outcomes += await settled(second)
    assert kinds(outcomes) == {EngineGone}


async def test_one_dead_engine_of_two_slows_but_fails_only_its_batch(open_lane):
    good, bad = Doubler(), Doubler()
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
        model = Doubler()
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
    model = Doubler()
    model.run = lambda items, flag: (time.sleep(0.02), items)[1]
    model.prepare = lambda request: (time.sleep(0.005), request)[1]
    lane = await open_lane(model, model, prepares=prepares)
    calls = [asyncio.ensure_future(lane.submit(number)) for number in range(300)]
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
    closes, may_end, waited = threading.Event(), threading.Event(), []

    def close():
        closes.set()
        waited.append(may_end.wait(10))

    model.close = close
    lane = await open_lane(model)
    closing = asyncio.ensure_future(lane.close())
    assert await asyncio.to_thread(closes.wait, 10)
    may_end.set()
    await closing
    assert waited == [True]


async def test_an_engine_that_does_not_start_says_so(model):
    def warm():
        raise EngineGone("no device")

    model.warm = warm
    lane = BatchLane(DOUBLER, [model], Telemetry(ProcessSettings()), max_batch_cost=1, max_queue_cost=1)
    with pytest.raises(EngineGone, match="no device"):
        await lane.start()
    assert not lane.ready
    assert kinds(await settled(lane.submit(1))) == {EngineGone}
