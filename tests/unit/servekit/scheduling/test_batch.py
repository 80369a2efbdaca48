"""Dynamic batching: filled by cost, prepared ahead, failing alone."""

import asyncio
import threading
import time

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, EngineCrashed, Internal, InvalidArgument, OutOfMemory, Overloaded
from tests.unit.servekit.conftest import hold, takes
from tests.watching import until


async def test_callers_share_batches_up_to_the_budget_and_get_their_own_answers(model, scheduler):
    first = await hold(model, scheduler)
    rest = [asyncio.ensure_future(scheduler.submit(n, cost=2.0)) for n in range(2, 12)]
    await until(lambda: scheduler.snapshot().prepared_cost >= 8)
    model.may_end.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 12)]
    assert model.batches[0] == [1]
    assert model.batches[1] == [2, 3, 4, 5]  # four items of cost 2 fill a budget of 8
    assert max(len(batch) for batch in model.batches) <= 4


async def test_a_full_queue_rejects_at_once_with_a_delay(model, scheduler):
    first = await hold(model, scheduler)
    waiting = [asyncio.ensure_future(scheduler.submit(2, cost=4.0)) for _ in range(20)]
    await asyncio.sleep(0)
    rejected = [call for call in waiting if call.done()]
    assert rejected  # while the engine is still busy
    for call in rejected:
        with pytest.raises(Overloaded) as error:
            await call
        assert error.value.retry_after > 0
    model.may_end.set()
    await first
    assert await asyncio.gather(*(call for call in waiting if call not in rejected)) == [4] * (20 - len(rejected))


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
    await until(lambda: scheduler.snapshot().prepared_cost == 6)
    model.most = 2
    model.may_end.set()
    await first
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 8)]
    assert all(len(batch) <= 2 for batch in model.batches)
    model.most = 0
    with pytest.raises(OutOfMemory):
        await scheduler.submit(1)


async def test_cancelled_and_late_items_never_reach_the_engine(model, scheduler):
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


async def test_a_crashed_engine_makes_the_scheduler_unready_until_it_recovers(model, scheduler, monkeypatch):
    monkeypatch.setattr("servekit.scheduling.engines.RESTART_SECONDS", 0.05)
    model.gone = True
    with pytest.raises(EngineCrashed):
        await scheduler.submit(1)
    assert not scheduler.ready
    with pytest.raises(EngineCrashed):
        await scheduler.submit(1)
    model.gone = False
    await until(lambda: scheduler.ready)
    assert await scheduler.submit(1) == 2


async def test_offered_load_counts_what_was_rejected(model, scheduler, virtual_clock, offered):
    model.run = takes(virtual_clock, 0.5)
    await scheduler.submit(1, cost=5.0)
    assert offered() == 0  # the first run is not known before it has ended
    del model.run
    first = await hold(model, scheduler)
    calls = [asyncio.ensure_future(scheduler.submit(1, cost=15.0)) for _ in range(10)]
    await asyncio.sleep(0)
    assert offered() == pytest.approx(0.1 * (1 + 10 * 15.0))
    model.may_end.set()
    outcomes = await asyncio.gather(first, *calls, return_exceptions=True)
    assert any(isinstance(outcome, Overloaded) for outcome in outcomes)


async def test_runs_that_take_as_long_however_full_are_predicted_by_batches(model, scheduler, virtual_clock):
    """After single items, which take a whole run each, a full batch is still predicted to be one run."""
    model.run = takes(virtual_clock, 0.1)
    for _ in range(3):
        await scheduler.submit(1)
    assert scheduler.snapshot().seconds_per_run == pytest.approx(0.1)

    async def in_time(number):
        enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 1.0)))
        return await scheduler.submit(number)

    assert await asyncio.gather(*(in_time(n) for n in range(16))) == [n * 2 for n in range(16)]  # two runs


async def test_it_predicts_the_wait_of_the_next_caller(model, scheduler, virtual_clock):
    assert scheduler.wait_seconds == 0
    assert scheduler.model is model
    model.run = takes(virtual_clock, 0.2)
    assert await scheduler.submit(1) == 2
    del model.run
    assert scheduler.wait_seconds == 0  # an engine is free
    second = await hold(model, scheduler)
    assert scheduler.wait_seconds == pytest.approx(0.2)  # as long as the one before took
    model.may_end.set()
    await second


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_a_run_that_does_not_complete_does_not_shorten_the_service_time(model, scheduler, virtual_clock, error):
    running = threading.Event()

    def stop(items, cancellation):
        running.set()
        while not cancellation.cancelled and not error:
            time.sleep(0.001)
        virtual_clock.now += 0.001
        if error:
            raise error
        return list(items)

    model.run = takes(virtual_clock, 0.2)
    await scheduler.submit(5, 5.0)
    known = scheduler.snapshot()
    model.run = stop
    leaving = asyncio.ensure_future(scheduler.submit(0, 1000.0))
    assert await asyncio.to_thread(running.wait, 5)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await until(lambda: not scheduler.snapshot().runs)
    snapshot = scheduler.snapshot()
    assert snapshot.seconds_per_cost == known.seconds_per_cost == pytest.approx(0.04)
    assert snapshot.full_seconds_per_cost == known.full_seconds_per_cost


async def test_a_snapshot_shows_what_waits_and_what_runs(model, scheduler):
    idle = scheduler.snapshot()
    assert (idle.queued_items, idle.queued_cost, idle.prepared_cost, idle.runs, idle.running_cost) == (0,) * 5
    assert (idle.engines_alive, idle.seconds_per_cost) == (1, 0)
    first = await hold(model, scheduler)
    rest = [asyncio.ensure_future(scheduler.submit(n, cost=4.0)) for n in range(5)]
    await until(lambda: scheduler.snapshot().prepared_cost == 8)
    busy = scheduler.snapshot()
    assert (busy.queued_items, busy.queued_cost) == (3, 12)
    assert (busy.runs, busy.running_items, busy.running_cost) == (1, 1, 1)
    async with scheduler.session(2):
        assert scheduler.snapshot().reserved_cost == 2
    model.may_end.set()
    await asyncio.gather(first, *rest)
