"""Engines that crash, restart and close: whenever they do, no caller is left waiting."""

import asyncio
import threading
import time

import pytest

from servekit.errors import EngineCrashed, Unavailable
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.scheduling import engines
from servekit.scheduling.batch import BatchScheduler
from tests.unit.servekit.conftest import DOUBLER, Doubler, kinds, settled
from tests.watching import until


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engines, "RESTART_SECONDS", 0.05)


async def test_an_engine_that_crashes_while_items_are_prepared_leaves_nobody_waiting(model, open_scheduler):
    scheduler = await open_scheduler(model)
    running, preparing, died = threading.Event(), threading.Event(), threading.Event()

    def run(items, cancellation):
        running.set()
        assert preparing.wait(5)
        raise EngineCrashed("dead")

    def prepare(request):
        if request == 2:
            preparing.set()
            assert died.wait(5)  # the engine crashes while this one is in no queue
        return request

    def warm():
        raise EngineCrashed("still dead")

    model.run, model.prepare, model.warm = run, prepare, warm
    first = asyncio.ensure_future(scheduler.submit(1))
    assert await asyncio.to_thread(running.wait, 5)
    second = asyncio.ensure_future(scheduler.submit(2))
    outcomes = await settled(first)
    assert not scheduler.ready
    died.set()
    outcomes += await settled(second)
    assert kinds(outcomes) == {EngineCrashed}


async def test_one_crashed_engine_of_two_fails_only_its_batch(open_scheduler):
    good, bad = Doubler(), Doubler()
    bad_took = threading.Event()

    def die(items, cancellation):
        bad_took.set()
        raise EngineCrashed("dead")

    def warm():
        if bad_took.is_set():
            raise EngineCrashed("still dead")

    bad.run, bad.warm = die, warm
    good.run = lambda items, cancellation: (bad_took.wait(5), [item * 2 for item in items])[1]
    scheduler = await open_scheduler(good, bad, max_batch_cost=1)
    outcomes = await settled(*(scheduler.submit(n) for n in range(50)))
    assert scheduler.ready
    assert sum(type(outcome) is EngineCrashed for outcome in outcomes) == 1
    assert await settled(*(scheduler.submit(1) for _ in range(10))) == [2] * 10


async def test_an_engine_restarts_after_any_failure_to_restart(model, open_scheduler):
    scheduler = await open_scheduler(model)
    failures = [RuntimeError("driver"), OSError("device"), EngineCrashed("still dead")]

    def die(items, cancellation):
        raise EngineCrashed("dead")

    def warm():
        if failures:
            raise failures.pop()

    model.run, model.warm = die, warm
    assert kinds(await settled(scheduler.submit(1))) == {EngineCrashed}
    del model.run
    await until(lambda: scheduler.ready)
    assert failures == []
    assert await settled(scheduler.submit(1)) == [2]


async def test_engines_that_crash_and_restart_under_load_answer_everybody(open_scheduler):
    def make():
        model = Doubler()
        runs = 0

        def run(items, cancellation):
            nonlocal runs
            runs += 1
            if runs % 5 == 0:
                raise EngineCrashed("dead")
            return [item * 2 for item in items]

        model.run = run
        return model

    scheduler = await open_scheduler(make(), make())
    end = time.monotonic() + 0.8
    counts = {"good": 0, "gone": 0}

    async def caller(number):
        while time.monotonic() < end:
            try:
                assert await scheduler.submit(number) == number * 2
                counts["good"] += 1
            except EngineCrashed:
                counts["gone"] += 1
                await asyncio.sleep(0.005)

    assert await settled(*(caller(number) for number in range(32))) == [None] * 32
    assert min(counts.values()) > 0


@pytest.mark.parametrize("prepares", [True, False])
async def test_closing_under_load_answers_everybody(open_scheduler, prepares):
    model = Doubler()
    model.run = lambda items, cancellation: (time.sleep(0.02), items)[1]
    model.prepare = lambda request: (time.sleep(0.005), request)[1]
    scheduler = await open_scheduler(model, model, prepares=prepares)
    calls = [asyncio.ensure_future(scheduler.submit(number)) for number in range(300)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.wait_for(scheduler.close(), 5)
    outcomes = await settled(*calls)
    assert kinds(outcomes) == {int, Unavailable}
    assert model.closed
    assert kinds(await settled(scheduler.submit(1))) == {Unavailable}


async def test_closing_ends_an_engine_that_does_not_restart(model, open_scheduler):
    scheduler = await open_scheduler(model)

    def die(*_):
        raise EngineCrashed("dead")

    model.run = model.warm = die
    await settled(scheduler.submit(1))
    await asyncio.wait_for(scheduler.close(), 5)
    assert model.closed


async def test_the_loop_runs_on_while_an_engine_closes(model, open_scheduler):
    closes, may_end, waited = threading.Event(), threading.Event(), []

    def close():
        closes.set()
        waited.append(may_end.wait(10))

    model.close = close
    scheduler = await open_scheduler(model)
    closing = asyncio.ensure_future(scheduler.close())
    assert await asyncio.to_thread(closes.wait, 10)
    may_end.set()
    await closing
    assert waited == [True]


async def test_an_engine_that_does_not_start_says_so(model):
    def warm():
        raise EngineCrashed("no device")

    model.warm = warm
    scheduler = BatchScheduler(DOUBLER, [model], Telemetry(ProcessSettings()), max_batch_cost=1, max_queue_cost=1)
    with pytest.raises(EngineCrashed, match="no device"):
        await scheduler.start()
    assert not scheduler.ready
    assert kinds(await settled(scheduler.submit(1))) == {EngineCrashed}
