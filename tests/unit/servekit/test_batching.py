"""Batches: filled by cost, prepared ahead, failing alone."""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from servekit.batching import BatchLane
from servekit.call import Call, Flag, enter
from servekit.catalogue import ModelCard
from servekit.errors import DeadlineExceeded, EngineGone, Internal, InvalidArgument, OutOfMemory, Overloaded, ServeError
from servekit.settings import ProcessSettings
from servekit.telemetry import Telemetry

CARD = ModelCard(
    id="doubler", task="embed", service="retrieval", loader="test", title="Doubles", licence="CC0-1.0", memory_mb=1
)


class Doubler:
    """Doubles numbers; says when a batch begins and waits until it may end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()
        self.most = 1000
        self.gone = False
        self.broken = False

    def warm(self) -> None:
        if self.gone:
            raise EngineGone("still dead")

    def close(self) -> None:
        self.closed = True

    def prepare(self, request: int) -> int:
        if request < 0:
            raise InvalidArgument("negative", field="number")
        return request

    def run(self, items: Sequence[int], flag: Flag) -> Sequence[int | ServeError]:
        if len(items) > self.most:
            raise OutOfMemory("too many")
        if self.gone:
            raise EngineGone("dead")
        if self.broken:
            raise ValueError("secret")
        self.batches.append(list(items))
        self.began.release()
        assert self.may_end.wait(10)
        return [InvalidArgument("13", field="number") if item == 13 else item * 2 for item in items]


@pytest.fixture
def model():
    return Doubler()


@pytest.fixture
async def lane(model):
    lane = BatchLane(CARD, [model], Telemetry(ProcessSettings()), max_batch_cost=8, max_queue_cost=20)
    await lane.start()
    yield lane
    model.may_end.set()
    await lane.close()
    assert model.closed


async def hold(model, lane):
    """Occupy the engine with one item; what comes next has to wait."""
    model.may_end.clear()
    first = asyncio.ensure_future(lane.submit(1))
    await asyncio.to_thread(model.began.acquire)
    return first


async def test_callers_share_batches_up_to_the_budget_and_get_their_own_answers(model, lane):
    first = await hold(model, lane)
    rest = [asyncio.ensure_future(lane.submit(n, cost=2.0)) for n in range(2, 12)]
    await asyncio.sleep(0.05)
    model.may_end.set()
    assert await first == 2
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 12)]
    assert model.batches[0] == [1]
    assert model.batches[1] == [2, 3, 4, 5]  # four items of cost 2 fill a budget of 8
    assert max(len(batch) for batch in model.batches) <= 4


async def test_a_full_queue_refuses_at_once_with_a_delay(model, lane):
    first = await hold(model, lane)
    waiting = [asyncio.ensure_future(lane.submit(2, cost=4.0)) for _ in range(20)]
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


async def test_a_bad_item_fails_alone(lane):
    outcomes = await asyncio.gather(*(lane.submit(n) for n in (1, -1, 13, 2)), return_exceptions=True)
    assert (outcomes[0], outcomes[3]) == (2, 4)
    assert isinstance(outcomes[1], InvalidArgument)
    assert isinstance(outcomes[2], InvalidArgument)


async def test_an_engine_error_fails_only_its_batch_and_leaks_nothing(model, lane):
    model.broken = True
    with pytest.raises(Internal, match=r"^internal error$"):
        await lane.submit(1)
    model.broken = False
    assert await lane.submit(1) == 2


async def test_out_of_memory_halves_the_batch(model, lane):
    first = await hold(model, lane)
    rest = [asyncio.ensure_future(lane.submit(n)) for n in range(2, 8)]
    await asyncio.sleep(0.05)
    model.most = 2
    model.may_end.set()
    await first
    assert await asyncio.gather(*rest) == [n * 2 for n in range(2, 8)]
    assert all(len(batch) <= 2 for batch in model.batches)
    model.most = 0
    with pytest.raises(OutOfMemory):
        await lane.submit(1)


async def test_the_cancelled_and_the_late_never_reach_the_engine(model, lane):
    first = await hold(model, lane)

    async def late():
        enter(Call(flag=Flag(time.monotonic() + 0.05)))
        return await lane.submit(98)

    cancelled, expired = asyncio.ensure_future(lane.submit(99)), asyncio.ensure_future(late())
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.sleep(0)
    model.may_end.set()
    await first
    with pytest.raises(DeadlineExceeded):
        await expired
    assert await lane.submit(3) == 6
    assert not {98, 99} & {item for batch in model.batches for item in batch}


async def test_a_dead_engine_makes_the_lane_unready_until_it_is_back(model, lane, monkeypatch):
    monkeypatch.setattr("servekit.engines.REVIVAL_SECONDS", 0.05)
    model.gone = True
    with pytest.raises(EngineGone):
        await lane.submit(1)
    assert not lane.ready
    with pytest.raises(EngineGone):
        await lane.submit(1)
    model.gone = False
    for _ in range(100):
        await asyncio.sleep(0.02)
        if lane.ready:
            break
    assert await lane.submit(1) == 2


async def test_demand_counts_what_was_refused(model, lane):
    await lane.submit(1, cost=5.0)
    demand = lane._telemetry.demand.labels("doubler")._value.get
    rate, before = lane._seconds_per_cost, demand()
    first = await hold(model, lane)
    jobs = [asyncio.ensure_future(lane.submit(1, cost=15.0)) for _ in range(10)]
    await asyncio.sleep(0.05)
    asked = demand() - before
    model.may_end.set()
    outcomes = await asyncio.gather(first, *jobs, return_exceptions=True)
    assert any(isinstance(outcome, Overloaded) for outcome in outcomes)
    assert asked == pytest.approx(rate * (1 + 10 * 15.0))


async def test_runs_that_take_as_long_however_full_are_not_counted_by_their_items(model, lane):
    """After lone items, which make an item look dear, a full batch is still known to be one run."""

    def run(items, flag):
        time.sleep(0.1)
        return [item * 2 for item in items]

    model.run = run
    for _ in range(3):
        await lane.submit(1)

    async def in_time(number):
        enter(Call(flag=Flag(time.monotonic() + 1.0)))
        return await lane.submit(number)

    assert await asyncio.gather(*(in_time(n) for n in range(16))) == [n * 2 for n in range(16)]  # two runs, 0.2 s


async def test_it_says_how_long_what_comes_now_would_wait(model, lane):
    assert lane.wait_seconds == 0
    assert lane.model is model
    assert await lane.submit(1) == 2
    await asyncio.to_thread(model.began.acquire)
    first = await hold(model, lane)
    await asyncio.sleep(0.05)
    model.may_end.set()
    await first
    assert lane.wait_seconds == 0  # an engine is free
    second = await hold(model, lane)
    assert lane.wait_seconds > 0.005  # as long as the one before took
    model.may_end.set()
    await second


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
    lane = BatchLane(CARD, [model], Telemetry(ProcessSettings()), max_batch_cost=0, max_queue_cost=100, prepares=False)
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


async def test_a_session_is_refused_by_the_deadline_of_the_whole(model, lane):
    def run(items, flag):
        time.sleep(0.3)
        return list(items)

    model.run = run
    await lane.submit(1)
    waiting = asyncio.ensure_future(lane.submit(1))
    await asyncio.sleep(0.02)
    enter(Call(flag=Flag(time.monotonic() + 0.9)))
    with pytest.raises(Overloaded, match="deadline"):
        async with lane.session(15):  # two runs, 0.6 s, after 0.3 s
            pass
    async with lane.session(4) as session:
        assert await session.submit(3) == 3
    await waiting


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
        CARD, [Doubler()], Telemetry(ProcessSettings()), max_batch_cost=8, max_queue_cost=20, max_sessions=2
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
    assert 0.3 < caught.value.retry_after < 1


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_a_run_that_breaks_off_does_not_make_work_look_cheap(model, lane, error):
    def run(items, flag):
        if items == [0]:
            while not flag.is_set() and not error:
                time.sleep(0.001)
            if error:
                raise error
        time.sleep(0.01 * sum(items))
        return list(items)

    model.run = run
    await lane.submit(5, 5.0)
    known = lane._seconds_per_cost, lane._price
    leaving = asyncio.ensure_future(lane.submit(0, 1000.0))
    await asyncio.sleep(0.05)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await lane.submit(5, 5.0)
    assert lane._seconds_per_cost == pytest.approx(known[0], rel=0.3)
    assert lane._price == pytest.approx(known[1], rel=0.3)
