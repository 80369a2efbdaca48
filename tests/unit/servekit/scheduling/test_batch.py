"""Batches: filled by cost, prepared ahead, failing alone."""

import asyncio
import time

import pytest

from servekit.rpc.context import CancellationToken, RequestContext, enter
from servekit.rpc.errors import DeadlineExceeded, EngineCrashed, Internal, InvalidArgument, OutOfMemory, Overloaded
from tests.unit.servekit.conftest import hold
from tests.watching import until


async def test_callers_share_batches_up_to_the_budget_and_get_their_own_answers(model, scheduler):
    first = await hold(model, scheduler)
    rest = [asyncio.ensure_future(scheduler.submit(n, cost=2.0)) for n in range(2, 12)]
    await until(lambda: scheduler._prepared.cost >= 8)
    model.may_end.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 12)]
    assert model.batches[0] == [1]
    assert model.batches[1] == [2, 3, 4, 5]  # four items of cost 2 fill a budget of 8
    assert max(len(batch) for batch in model.batches) <= 4


async def test_a_full_queue_refuses_at_once_with_a_delay(model, scheduler):
    first = await hold(model, scheduler)
    waiting = [asyncio.ensure_future(scheduler.submit(2, cost=4.0)) for _ in range(20)]
    await asyncio.sleep(0.05)
    refused = [job for job in waiting if job.done()]
    assert refused  # while the engine is still busy
    for job in refused:
        with pytest.raises(Overloaded) as error:
            await job
        assert error.value.retry_after > 0
    model.may_end.set()
    await first
    assert await asyncio.gather(*(job for job in waiting if job not in refused)) == [4] * (20 - len(refused))


async def test_a_bad_item_fails_alone(scheduler):
    outcomes = await asyncio.gather(*(scheduler.submit(n) for n in (1, -1, 13, 2)), return_exceptions=True)
    assert (outcomes[0], outcomes[3]) == (2, 4)
    assert isinstance(outcomes[1], InvalidArgument)
    assert isinstance(outcomes[2], InvalidArgument)


async def test_an_engine_error_fails_only_its_batch_and_leaks_nothing(model, scheduler):
    model.broken = True
    with pytest.raises(Internal, match=r"^internal error$"):
        await scheduler.submit(1)
    model.broken = False
    assert await scheduler.submit(1) == 2


async def test_out_of_memory_halves_the_batch(model, scheduler):
    first = await hold(model, scheduler)
    rest = [asyncio.ensure_future(scheduler.submit(n)) for n in range(2, 8)]
    await asyncio.sleep(0.05)
    model.most = 2
    model.may_end.set()
    await first
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 8)]
    assert all(len(batch) <= 2 for batch in model.batches)
    model.most = 0
    with pytest.raises(OutOfMemory):
        await scheduler.submit(1)


async def test_the_cancelled_and_the_late_never_reach_the_engine(model, scheduler):
    first = await hold(model, scheduler)

    async def late():
        enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.05)))
        return await scheduler.submit(98)

    cancelled, expired = asyncio.ensure_future(scheduler.submit(99)), asyncio.ensure_future(late())
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.sleep(0)
    model.may_end.set()
    await first
    with pytest.raises(DeadlineExceeded):
        await expired
    assert await scheduler.submit(3) == 6
    assert not {98, 99} & {item for batch in model.batches for item in batch}


async def test_a_dead_engine_makes_the_scheduler_unready_until_it_is_back(model, scheduler, monkeypatch):
    monkeypatch.setattr("servekit.scheduling.engines.REVIVAL_SECONDS", 0.05)
    model.gone = True
    with pytest.raises(EngineCrashed):
        await scheduler.submit(1)
    assert not scheduler.ready
    with pytest.raises(EngineCrashed):
        await scheduler.submit(1)
    model.gone = False
    for _ in range(100):
        await asyncio.sleep(0.02)
        if scheduler.ready:
            break
    assert await scheduler.submit(1) == 2


async def test_demand_counts_what_was_refused(model, scheduler):
    await scheduler.submit(1, cost=5.0)
    demand = scheduler._telemetry.offered_load.labels("doubler")._value.get
    rate, before = scheduler._seconds_per_cost, demand()
    first = await hold(model, scheduler)
    jobs = [asyncio.ensure_future(scheduler.submit(1, cost=15.0)) for _ in range(10)]
    await asyncio.sleep(0.05)
    asked = demand() - before
    model.may_end.set()
    outcomes = await asyncio.gather(first, *jobs, return_exceptions=True)
    assert any(isinstance(outcome, Overloaded) for outcome in outcomes)
    assert asked == pytest.approx(rate * (1 + 10 * 15.0))


async def test_runs_that_take_as_long_however_full_are_not_counted_by_their_items(model, scheduler):
    """After lone items, which make an item look dear, a full batch is still known to be one run."""

    def run(items, cancellation):
        time.sleep(0.1)
        return [item * 2 for item in items]

    model.run = run
    for _ in range(3):
        await scheduler.submit(1)

    async def in_time(number):
        enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 10 * scheduler._seconds_per_run)))
        return await scheduler.submit(number)

    assert await asyncio.gather(*(in_time(n) for n in range(16))) == [n * 2 for n in range(16)]  # two runs


async def test_it_says_how_long_what_comes_now_would_wait(model, scheduler):
    assert scheduler.wait_seconds == 0
    assert scheduler.model is model
    assert await scheduler.submit(1) == 2
    await asyncio.to_thread(model.began.acquire)
    first = await hold(model, scheduler)
    await asyncio.sleep(0.05)
    model.may_end.set()
    await first
    assert scheduler.wait_seconds == 0  # an engine is free
    second = await hold(model, scheduler)
    assert scheduler.wait_seconds > 0.005  # as long as the one before took
    model.may_end.set()
    await second


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_a_run_that_breaks_off_does_not_make_work_look_cheap(model, scheduler, error):
    def run(items, cancellation):
        if items == [0]:
            while not cancellation.cancelled and not error:
                time.sleep(0.001)
            if error:
                raise error
        time.sleep(0.04 * sum(items))
        return list(items)

    model.run = run
    await scheduler.submit(5, 5.0)
    known = scheduler._seconds_per_cost, scheduler._price
    leaving = asyncio.ensure_future(scheduler.submit(0, 1000.0))
    await asyncio.sleep(0.05)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await scheduler.submit(5, 5.0)
    assert scheduler._seconds_per_cost == pytest.approx(known[0], rel=0.3)
    assert scheduler._price == pytest.approx(known[1], rel=0.3)
