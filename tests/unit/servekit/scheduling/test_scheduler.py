"""Schedulers under failure: no error and no cancellation leaves another caller waiting."""

import asyncio
import threading
import time

import pytest

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import Cancelled, DeadlineExceeded, Internal, InvalidArgument, Overloaded
from servekit.scheduling.stream import StreamScheduler
from tests.unit.servekit.conftest import Doubler, Panic, hold, kinds, settled, takes
from tests.watching import until


@pytest.mark.parametrize("prepares", [True, False])
@pytest.mark.parametrize("step", ["prepare", "run"])
async def test_a_panic_fails_its_callers_and_not_the_scheduler(model, open_scheduler, step, prepares):
    def panic(*_):
        raise Panic("secret")

    scheduler = await open_scheduler(model, prepares=prepares)
    setattr(model, step, panic)
    (outcome,) = await settled(scheduler.submit(1))
    assert (type(outcome), outcome.message) == (Internal, "internal error")
    delattr(model, step)
    assert await settled(scheduler.submit(1)) == [2]


async def test_a_panic_ends_a_stream_and_not_the_scheduler(model, open_scheduler):
    scheduler = await open_scheduler(model, kind=StreamScheduler)

    def panics(model, cancellation):
        yield 1
        raise Panic("secret")

    async def collect(work):
        return [event async for event in scheduler.stream(work, cost=0.0)]

    (outcome,) = await settled(collect(panics))
    assert type(outcome) is Internal
    assert await settled(*(collect(lambda model, cancellation: iter("ab")) for _ in range(3))) == [["a", "b"]] * 3


async def test_cancelled_callers_take_no_room_in_the_queue(model, open_scheduler):
    began, may_end = threading.Event(), threading.Event()
    model.run = lambda items, cancellation: (began.set(), may_end.wait(5), items)[2]
    scheduler = await open_scheduler(model, max_queue_cost=10, max_batch_cost=1, prepares=False)
    first = asyncio.ensure_future(scheduler.submit(1))
    await asyncio.to_thread(began.wait, 5)
    crowd = [asyncio.ensure_future(scheduler.submit(n)) for n in range(10)]
    await asyncio.sleep(0)
    assert kinds(await settled(scheduler.submit(0))) == {Overloaded}
    for caller in crowd:
        caller.cancel()
    await settled(*crowd)
    await asyncio.sleep(0.06)
    late = asyncio.ensure_future(scheduler.submit(3))
    await asyncio.sleep(0)
    may_end.set()
    assert await settled(first, late) == [1, 3]


async def test_random_cancellation_loses_and_confuses_no_answers(open_scheduler):
    model = Doubler()
    model.run = lambda items, cancellation: (time.sleep(0.001), [item * 2 for item in items])[1]
    scheduler = await open_scheduler(model, model)

    async def caller(number):
        call = asyncio.ensure_future(scheduler.submit(number))
        if number % 3 == 0:
            await asyncio.sleep(number % 7 / 1000)
            call.cancel()
        return await call

    outcomes = await settled(*(caller(number) for number in range(600)))
    for number, outcome in enumerate(outcomes):
        assert outcome == number * 2 or (number % 3 == 0 and isinstance(outcome, asyncio.CancelledError))
    await until(lambda: not scheduler.snapshot().runs)  # the last of them may have left a run
    snapshot = scheduler.snapshot()
    assert (snapshot.queued_items, snapshot.queued_cost, snapshot.running_cost) == (0, 0.0, 0.0)


async def test_an_item_that_makes_a_batch_fail_fails_alone(open_scheduler):
    model = Doubler()
    sizes = []

    def run(items, cancellation):
        sizes.append(len(items))
        if 13 in items:
            raise InvalidArgument("13 is out of bounds", field="number")
        return items

    began, may_end = threading.Event(), threading.Event()
    model.run = lambda items, cancellation: (began.set(), may_end.wait(5), items)[2]
    scheduler = await open_scheduler(model)
    first = asyncio.ensure_future(scheduler.submit(1))
    await asyncio.to_thread(began.wait, 5)
    rest = [asyncio.ensure_future(scheduler.submit(n)) for n in range(10, 18)]
    await until(lambda: scheduler.snapshot().prepared_cost == 8)
    model.run = run
    may_end.set()
    outcomes = await settled(first, *rest)
    assert [type(outcome) for outcome in outcomes] == [int] * 4 + [InvalidArgument] + [int] * 4
    assert max(sizes) > 1


async def test_a_batch_is_cancelled_once_its_callers_left_or_are_late(model, open_scheduler):
    began, verdicts = threading.Semaphore(0), []

    def run(items, cancellation):
        began.release()
        while not cancellation.cancelled:
            time.sleep(0.005)
        try:
            cancellation.raise_if_cancelled()
        except Exception as error:
            verdicts.append(type(error))
            raise

    model.run = run
    scheduler = await open_scheduler(model)

    async def late():
        enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.5)))
        return await scheduler.submit(1)

    assert kinds(await settled(late())) == {DeadlineExceeded}
    await asyncio.to_thread(began.acquire)
    caller = asyncio.ensure_future(scheduler.submit(1))
    await asyncio.to_thread(began.acquire)
    caller.cancel()
    await until(lambda: len(verdicts) == 2)
    assert verdicts == [DeadlineExceeded, Cancelled]


async def test_a_caller_whose_deadline_the_queue_exceeds_is_rejected_at_once(model, open_scheduler, virtual_clock):
    model.run = takes(virtual_clock, 0.1)
    scheduler = await open_scheduler(model, max_batch_cost=1, clock=virtual_clock)
    await scheduler.submit(1)
    del model.run
    first = await hold(model, scheduler)
    crowd = [asyncio.ensure_future(scheduler.submit(n)) for n in range(9)]
    await asyncio.sleep(0)
    enter(RequestContext(cancellation=CancellationToken(virtual_clock() + 0.3)))
    with pytest.raises(Overloaded) as rejected:
        await scheduler.submit(1)
    assert rejected.value.retry_after == pytest.approx(1.0)
    model.may_end.set()
    assert await settled(first, *crowd) == [2, *(n * 2 for n in range(9))]
