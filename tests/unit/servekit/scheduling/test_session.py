"""Sessions: admitted once, rejected as a whole, sharing fairly."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import Overloaded
from tests.unit.servekit.conftest import hold, takes
from tests.watching import until


async def test_a_session_is_admitted_once_and_its_items_are_never_rejected(model, scheduler):
    first = await hold(model, scheduler)
    async with scheduler.session(20) as long:  # all that there is room for
        with pytest.raises(Overloaded) as caught:
            async with scheduler.session(1):
                await scheduler.submit(3, 20)
        assert caught.value.retry_after
        tasks = [asyncio.ensure_future(long.submit(item, 10)) for item in (4, 5, 6)]  # more than was reserved
        await asyncio.sleep(0)
        model.may_end.set()
        assert await asyncio.gather(*tasks) == [8, 10, 12]
    await first


async def test_a_short_session_is_not_queued_behind_a_long_one(model, open_scheduler):
    scheduler = await open_scheduler(model, max_batch_cost=0, max_queue_cost=100, prepares=False)
    first = await hold(model, scheduler)
    async with scheduler.session(90) as long, scheduler.session(5) as short:
        tasks = [asyncio.ensure_future(long.submit(item, 30)) for item in (4, 5)]
        await asyncio.sleep(0)
        tasks.append(asyncio.ensure_future(short.submit(6, 5)))
        await asyncio.sleep(0)
        model.may_end.set()
        await asyncio.gather(first, *tasks)
    assert model.batches == [[1], [4], [6], [5]]


async def test_a_session_is_rejected_by_the_deadline_of_the_whole(model, scheduler, virtual_clock):
    model.run = takes(virtual_clock, 0.3)
    await scheduler.submit(1)
    del model.run
    waiting = await hold(model, scheduler)
    enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 3.5 * 0.3)))
    with pytest.raises(Overloaded, match="deadline"):
        async with scheduler.session(15):  # two runs after one that has started
            pass
    async with scheduler.session(4) as session:
        model.may_end.set()
        assert await session.submit(3) == 6
    await waiting


async def test_a_session_on_two_engines_takes_half_as_long(model, open_scheduler, virtual_clock):
    model.run = takes(virtual_clock, 0.2)
    scheduler = await open_scheduler(model, model, max_batch_cost=0, max_queue_cost=100, clock=virtual_clock)
    await scheduler.submit(1)
    del model.run
    model.may_end.clear()
    waiting = [asyncio.ensure_future(scheduler.submit(1)) for _ in range(2)]
    for _ in waiting:
        await asyncio.to_thread(model.began.acquire)
    enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 10 * 0.2)))
    with pytest.raises(Overloaded, match="deadline"):
        async with scheduler.session(10):
            pass
    async with scheduler.session(10, concurrency=2):
        model.may_end.set()
        await asyncio.gather(*waiting)


async def test_offered_load_counts_a_session_once_by_the_used_share(model, scheduler, virtual_clock, offered):
    model.run = lambda items, cancellation: takes(virtual_clock, 8.0 if items == [1] else 0.0)(items, cancellation)
    await scheduler.submit(1, 8)  # a second per cost; the others are too short to change it
    async with scheduler.session(16) as session:
        assert offered() == 16
        await session.submit(2, 4)
        await session.submit(2, 4)
        assert offered() == 16
    async with scheduler.session(16) as session:  # half of what is reserved is used, so far
        assert session.left == 8
        assert offered() == 16 + 8
        await session.submit(2, 8)
        assert offered() == 16 + 8
        await session.submit(2, 8)  # more than was expected
        assert offered() == 16 + 8 + 8
    with pytest.raises(Overloaded):
        async with scheduler.session(2), scheduler.session(100):
            pass
    assert offered() > 32 + 50  # what is rejected was offered, too


async def test_cancelling_a_session_cancels_its_items(model, scheduler):
    first = await hold(model, scheduler)

    async def visit():
        async with scheduler.session(18) as session:
            await asyncio.gather(session.submit(20, 8), session.submit(21, 8))

    visiting = asyncio.ensure_future(visit())
    await until(lambda: scheduler.snapshot().prepared_cost)
    visiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visiting
    async with scheduler.session(18):
        pass
    model.may_end.set()
    await first
    assert await scheduler.submit(2) == 4
    assert [20] not in model.batches
    assert [21] not in model.batches


async def test_at_most_max_sessions_are_admitted(model, open_scheduler, virtual_clock, offered):
    model.run = takes(virtual_clock, 1.0)
    scheduler = await open_scheduler(model, max_sessions=2, clock=virtual_clock)
    await scheduler.submit(1)
    async with scheduler.session(1), scheduler.session(1):
        before = offered()
        with pytest.raises(Overloaded) as caught:
            async with scheduler.session(1):
                pass
        assert caught.value.retry_after
        assert offered() > before  # rejected work included
    async with scheduler.session(1):
        pass


async def test_reserved_cost_is_predicted_by_full_batches(model, open_scheduler, virtual_clock):
    """A run takes 0.1 s however full: a reserved cost of 40 is five runs, whatever single items took."""
    model.run = takes(virtual_clock, 0.1)
    scheduler = await open_scheduler(model, max_queue_cost=40, clock=virtual_clock)
    for _ in range(3):
        await scheduler.submit(1)
    async with AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(scheduler.session(1))
        with pytest.raises(Overloaded) as caught:
            await stack.enter_async_context(scheduler.session(1))
    assert caught.value.retry_after == pytest.approx(5 * 0.1)
