"""Sessions: admitted once, refused as a whole, fair to one another."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken, RequestContext, enter
from servekit.rpc.errors import Overloaded
from servekit.scheduling.batch import BatchScheduler
from tests.unit.servekit.conftest import DOUBLER, Doubler, hold


async def test_a_session_is_admitted_once_and_its_items_are_never_refused(model, scheduler):
    first = await hold(model, scheduler)
    async with scheduler.session(20) as long:  # as much as there is room for
        with pytest.raises(Overloaded) as caught:
            async with scheduler.session(1):
                await scheduler.submit(3, 20)
        assert caught.value.retry_after
        tasks = [asyncio.ensure_future(long.submit(item, 10)) for item in (4, 5, 6)]  # more than was promised
        await asyncio.sleep(0)
        model.may_end.set()
        assert await asyncio.gather(*tasks) == [8, 10, 12]
    await first


async def test_a_short_session_waits_for_no_long_one():
    model = Doubler()
    scheduler = BatchScheduler(
        DOUBLER, [model], Telemetry(ProcessSettings()), max_batch_cost=0, max_queue_cost=100, prepares=False
    )
    await scheduler.start()
    first = await hold(model, scheduler)
    async with scheduler.session(90) as long, scheduler.session(5) as short:
        tasks = [asyncio.ensure_future(long.submit(item, 30)) for item in (4, 5)]
        await asyncio.sleep(0.01)
        tasks.append(asyncio.ensure_future(short.submit(6, 5)))
        await asyncio.sleep(0.01)
        model.may_end.set()
        await asyncio.gather(first, *tasks)
    assert model.batches == [[1], [4], [6], [5]]
    await scheduler.close()


def slow(seconds):
    """A run that takes so long."""

    def run(items, cancellation):
        time.sleep(seconds)
        return list(items)

    return run


async def test_a_session_is_refused_by_the_deadline_of_the_whole(model, scheduler):
    model.run = slow(0.3)
    await scheduler.submit(1)
    del model.run
    waiting = await hold(model, scheduler)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 3.5 * scheduler._seconds_per_run)))
    with pytest.raises(Overloaded, match="deadline"):
        async with scheduler.session(15):  # two runs after one that has begun
            pass
    async with scheduler.session(4) as session:
        model.may_end.set()
        assert await session.submit(3) == 6
    await waiting


async def test_a_session_at_two_engines_at_once_takes_half_as_long():
    model = Doubler()
    model.run = slow(0.2)
    engines = [model, model]
    scheduler = BatchScheduler(DOUBLER, engines, Telemetry(ProcessSettings()), max_batch_cost=0, max_queue_cost=100)
    await scheduler.start()
    await asyncio.gather(scheduler.submit(1), scheduler.submit(2))  # 0.2 s each
    del model.run
    model.may_end.clear()
    waiting = [asyncio.ensure_future(scheduler.submit(1)) for _ in range(2)]
    for _ in waiting:
        await asyncio.to_thread(model.began.acquire)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 10 * scheduler._seconds_per_cost)))
    with pytest.raises(Overloaded, match="deadline"):
        async with scheduler.session(10):
            pass
    async with scheduler.session(10, at_once=2):
        model.may_end.set()
        await asyncio.gather(*waiting)
    await scheduler.close()


async def test_demand_counts_a_session_once_by_what_promises_are_worth(monkeypatch, scheduler):
    monkeypatch.setattr(BatchScheduler, "_price", 1.0)
    demand = scheduler._demand._value.get
    async with scheduler.session(16) as session:
        assert demand() == 16
        await session.submit(1, 4)
        await session.submit(1, 4)
        assert demand() == 16
    async with scheduler.session(16) as session:  # half of what was promised comes, as far as is known
        assert session.left == 8
        assert demand() == 16 + 8
        await session.submit(1, 8)
        assert demand() == 16 + 8
        await session.submit(1, 8)  # more than was expected
        assert demand() == 16 + 8 + 8
    with pytest.raises(Overloaded):
        async with scheduler.session(2), scheduler.session(100):
            pass
    assert demand() > 32 + 50  # what is refused is asked for, too


async def test_a_caller_who_leaves_takes_the_session_along(model, scheduler):
    first = await hold(model, scheduler)

    async def visit():
        async with scheduler.session(18) as session:
            await asyncio.gather(session.submit(20, 8), session.submit(21, 8))

    visiting = asyncio.ensure_future(visit())
    await asyncio.sleep(0.01)
    visiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visiting
    await asyncio.sleep(0.1)
    async with scheduler.session(18):
        pass
    model.may_end.set()
    await first
    assert await scheduler.submit(2) == 4
    assert [20] not in model.batches
    assert [21] not in model.batches


async def test_sessions_are_as_many_as_there_is_memory_for():
    scheduler = BatchScheduler(
        DOUBLER, [Doubler()], Telemetry(ProcessSettings()), max_batch_cost=8, max_queue_cost=20, max_sessions=2
    )
    await scheduler.start()
    demand = scheduler._demand._value.get
    await scheduler.submit(1)
    async with scheduler.session(1), scheduler.session(1):
        before = demand()
        with pytest.raises(Overloaded) as caught:
            async with scheduler.session(1):
                pass
        assert caught.value.retry_after
        assert demand() > before  # refused work included
    async with scheduler.session(1):
        pass
    await scheduler.close()


async def test_what_sessions_promised_counts_by_full_runs_like_what_waits(model, scheduler):
    """A run takes 0.1 s however full: forty that are promised are five runs, whatever lone items took."""

    def run(items, cancellation):
        time.sleep(0.1)
        return list(items)

    model.run = run
    for _ in range(3):
        await scheduler.submit(1)
    scheduler._max_queue_cost = 40
    async with AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(scheduler.session(1))
        with pytest.raises(Overloaded) as caught:
            await stack.enter_async_context(scheduler.session(1))
    assert 3 < caught.value.retry_after / scheduler._seconds_per_run < 10
