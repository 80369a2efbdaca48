"""Sessions: admitted once, refused as a whole, fair to one another."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from servekit.batching import BatchLane
from servekit.call import Call, Flag, enter
from servekit.errors import Overloaded
from servekit.settings import ProcessSettings
from servekit.telemetry import Telemetry

from .conftest import DOUBLER, Doubler, hold


async def test_a_session_is_admitted_once_and_its_items_are_never_refused(model, lane):
    first = await hold(model, lane)
    async with lane.session(20) as long:  # as much as there is room for
        with pytest.raises(Overloaded) as caught:
            async with lane.session(1):
                await lane.submit(3, 20)
        assert caught.value.retry_after
        tasks = [asyncio.ensure_future(long.submit(item, 10)) for item in (4, 5, 6)]  # more than was promised
        await asyncio.sleep(0)
        model.may_end.set()
        assert await asyncio.gather(*tasks) == [8, 10, 12]
    await first


async def test_a_short_session_waits_for_no_long_one():
    model = Doubler()
    lane = BatchLane(
        DOUBLER, [model], Telemetry(ProcessSettings()), max_batch_cost=0, max_queue_cost=100, prepares=False
    )
    await lane.start()
    first = await hold(model, lane)
    async with lane.session(90) as long, lane.session(5) as short:
        tasks = [asyncio.ensure_future(long.submit(item, 30)) for item in (4, 5)]
        await asyncio.sleep(0.01)
        tasks.append(asyncio.ensure_future(short.submit(6, 5)))
        await asyncio.sleep(0.01)
        model.may_end.set()
        await asyncio.gather(first, *tasks)
    assert model.batches == [[1], [4], [6], [5]]
    await lane.close()


def slow(seconds):
    """A run that takes so long."""

    def run(items, flag):
        time.sleep(seconds)
        return list(items)

    return run


async def test_a_session_is_refused_by_the_deadline_of_the_whole(model, lane):
    model.run = slow(0.3)
    await lane.submit(1)
    del model.run
    waiting = await hold(model, lane)
    enter(Call(flag=Flag(time.monotonic() + 3.5 * lane._seconds_per_run)))
    with pytest.raises(Overloaded, match="deadline"):
        async with lane.session(15):  # two runs after one that has begun
            pass
    async with lane.session(4) as session:
        model.may_end.set()
        assert await session.submit(3) == 6
    await waiting


async def test_a_session_at_two_engines_at_once_takes_half_as_long():
    model = Doubler()
    model.run = slow(0.2)
    engines = [model, model]
    lane = BatchLane(DOUBLER, engines, Telemetry(ProcessSettings()), max_batch_cost=0, max_queue_cost=100)
    await lane.start()
    await asyncio.gather(lane.submit(1), lane.submit(2))  # 0.2 s each
    del model.run
    model.may_end.clear()
    waiting = [asyncio.ensure_future(lane.submit(1)) for _ in range(2)]
    for _ in waiting:
        await asyncio.to_thread(model.began.acquire)
    enter(Call(flag=Flag(time.monotonic() + 10 * lane._seconds_per_cost)))
    with pytest.raises(Overloaded, match="deadline"):
        async with lane.session(10):
            pass
    async with lane.session(10, at_once=2):
        model.may_end.set()
        await asyncio.gather(*waiting)
    await lane.close()


async def test_demand_counts_a_session_once_by_what_promises_are_worth(monkeypatch, lane):
    monkeypatch.setattr(BatchLane, "_price", 1.0)
    demand = lane._demand._value.get
    async with lane.session(16) as session:
        assert demand() == 16
        await session.submit(1, 4)
        await session.submit(1, 4)
        assert demand() == 16
    async with lane.session(16) as session:  # half of what was promised comes, as far as is known
        assert session.left == 8
        assert demand() == 16 + 8
        await session.submit(1, 8)
        assert demand() == 16 + 8
        await session.submit(1, 8)  # more than was expected
        assert demand() == 16 + 8 + 8
    with pytest.raises(Overloaded):
        async with lane.session(2), lane.session(100):
            pass
    assert demand() > 32 + 50  # what is refused is asked for, too


async def test_a_caller_who_leaves_takes_the_session_along(model, lane):
    first = await hold(model, lane)

    async def visit():
        async with lane.session(18) as session:
            await asyncio.gather(session.submit(20, 8), session.submit(21, 8))

    visiting = asyncio.ensure_future(visit())
    await asyncio.sleep(0.01)
    visiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visiting
    await asyncio.sleep(0.1)
    async with lane.session(18):
        pass
    model.may_end.set()
    await first
    assert await lane.submit(2) == 4
    assert [20] not in model.batches
    assert [21] not in model.batches


async def test_sessions_are_as_many_as_there_is_memory_for():
    lane = BatchLane(
        DOUBLER, [Doubler()], Telemetry(ProcessSettings()), max_batch_cost=8, max_queue_cost=20, max_sessions=2
    )
    await lane.start()
    demand = lane._demand._value.get
    await lane.submit(1)
    async with lane.session(1), lane.session(1):
        before = demand()
        with pytest.raises(Overloaded) as caught:
            async with lane.session(1):
                pass
        assert caught.value.retry_after
        assert demand() > before  # refused work included
    async with lane.session(1):
        pass
    await lane.close()


async def test_what_sessions_promised_counts_by_full_runs_like_what_waits(model, lane):
    """A run takes 0.1 s however full: forty that are promised are five runs, whatever lone items took."""

    def run(items, flag):
        time.sleep(0.1)
        return list(items)

    model.run = run
    for _ in range(3):
        await lane.submit(1)
    lane._max_queue_cost = 40
    async with AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(lane.session(1))
        with pytest.raises(Overloaded) as caught:
            await stack.enter_async_context(lane.session(1))
    assert 3 < caught.value.retry_after / lane._seconds_per_run < 10
