"""The fair queue: first in first out, within a budget, without cancelled items, across threads."""

import asyncio
import threading
import time
from math import nan

import pytest

from servekit.context import CancellationToken
from servekit.errors import InvalidArgument
from servekit.scheduling import queue as fair_queue
from servekit.scheduling.queue import FairQueue, WorkItem


class Dropped(list):
    def __call__(self, item):
        self.append(item.request)


@pytest.fixture
def dropped():
    return Dropped()


@pytest.fixture
def queue(dropped):
    return FairQueue(dropped)


@pytest.fixture
async def make():
    def make(request, cost=1.0, cancellation=None, start_tag=0.0, batch_cost=nan):
        future = asyncio.get_running_loop().create_future()
        return WorkItem(request, cost, cancellation or CancellationToken(), future, start_tag, batch_cost)

    return make


def requests(taken):
    return [item.request for item in taken]


async def test_takes_what_fits_the_budget_in_order_and_at_least_one(queue, make):
    queue.put([make("a", 9.0), make("b", 2.0), make("c", 2.0), make("d", 2.0)])
    assert requests(queue.take(4)) == ["a"]
    assert requests(queue.take(4)) == ["b", "c"]
    assert queue.cost == 2.0
    assert requests(queue.take(4)) == ["d"]
    assert (queue.cost, len(queue)) == (0.0, 0)


async def test_takes_no_more_than_most_even_of_what_costs_nothing(queue, make):
    queue.put([make("a", 0.0), make("b", 0.0)])
    assert requests(queue.take(most=1)) == ["a"]
    assert requests(queue.take(most=1)) == ["b"]


async def test_drops_cancelled_items(queue, make, dropped):
    gone, late = CancellationToken(), CancellationToken(time.monotonic() - 1)
    gone.cancel()
    queue.put([make("gone", 5.0, gone), make("late", 5.0, late), make("alive"), make("alive too")])
    assert requests(queue.take(2)) == ["alive", "alive too"]
    assert dropped == ["gone", "late"]


async def test_a_sweep_drops_cancelled_items_and_keeps_the_order(queue, make, dropped, monkeypatch):
    cancellations = [CancellationToken() for _ in range(6)]
    queue.put([make(n, 1.0, cancellation) for n, cancellation in enumerate(cancellations)])
    for cancellation in cancellations[::2]:
        cancellation.cancel()
    queue.sweep()
    assert (dropped, queue.cost) == ([0, 2, 4], 3.0)
    monkeypatch.setattr(fair_queue, "SWEEP_SECONDS", 60.0)
    cancellations[1].cancel()
    queue.sweep()  # too soon to look again
    assert dropped == [0, 2, 4]
    monkeypatch.setattr(fair_queue, "SWEEP_SECONDS", 0.0)
    queue.sweep()
    assert dropped == [0, 2, 4, 1]
    assert requests(queue.drain()) == [3, 5]


async def test_close_wakes_takers_and_keeps_queued_items(queue, make):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(1)))
    thread.start()
    queue.close()
    thread.join(5)
    assert taken == [[]]
    queue.put([make("left")])
    assert requests(queue.take(1)) == ["left"]
    assert queue.take(1) == []


async def test_waiting_for_room_ends_by_taking_and_by_closing(queue, make):
    queue.put([make("a"), make("b")])
    threads = [threading.Thread(target=queue.wait_for_room, args=(1.0, 1)) for _ in range(2)]
    threads[0].start()
    threads[0].join(0.05)
    assert threads[0].is_alive()
    queue.take()
    threads[0].join(5)
    queue.put([make("c")])
    threads[1].start()
    queue.close()
    threads[1].join(5)
    assert not any(thread.is_alive() for thread in threads)


async def test_many_threads_lose_and_duplicate_nothing(queue, make):
    seen, lock = [], threading.Lock()

    def take():
        while taken := queue.take(3):
            with lock:
                seen.extend(requests(taken))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for start in range(0, 3000, 3):
        queue.put([make(start + n) for n in range(3)])
    queue.close()
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == list(range(3000))
    assert queue.cost == 0.0


async def test_an_item_is_resolved_once(make):
    item = make("a")
    item.resolve(InvalidArgument("bad"))
    item.resolve(1)
    with pytest.raises(InvalidArgument):
        await item.future
    left = make("b")
    left.future.cancel()
    left.resolve(1)
    assert left.future.cancelled()


async def test_takes_what_fits_a_batch_without_waiting(queue, make, dropped):
    gone = CancellationToken()
    gone.cancel()
    assert queue.take_fitting(10) == []
    queue.put([make("gone", cancellation=gone), make("a", 50, batch_cost=2), make("b", 50, batch_cost=3), make("c", 1)])
    assert requests(queue.take_fitting(4)) == ["a"]
    assert requests(queue.take_fitting(2)) == []  # nothing overtakes the first
    assert requests(queue.take_fitting(4)) == ["b", "c"]
    assert dropped == ["gone"]


def send(queue, make, request, cost, start_tag):
    """Put the next item of a caller whose last one finished at this virtual time; returns where this one finishes."""
    item = make(request, cost, start_tag=start_tag)
    queue.put([item])
    return item.start_tag + cost


async def test_a_new_caller_is_served_before_the_second_item_of_another(queue, make):
    tag = send(queue, make, "long 1", 30, 0)
    assert requests(queue.take(most=1)) == ["long 1"]
    send(queue, make, "long 2", 30, tag)
    send(queue, make, "short", 5, 0)
    assert requests(queue.take(most=1)) == ["short"]
    assert requests(queue.take(most=1)) == ["long 2"]


async def test_two_long_callers_alternate(queue, make):
    tags = {"a": 0.0, "b": 0.0}
    for owner in ("a", "a", "a", "b", "b", "b"):
        tags[owner] = send(queue, make, owner, 10, tags[owner])
    assert requests(queue.take()) == ["a", "b", "a", "b", "a", "b"]


async def test_an_idle_caller_accumulates_no_credit(queue, make):
    tag = send(queue, make, "early", 10, 0)
    for _ in range(20):
        queue.take(most=1)
        queue.put([make("other", 10)])
    send(queue, make, "early", 10, tag)
    assert requests(queue.take()) == ["other", "early"]


async def test_many_new_callers_starve_nobody(queue, make):
    tag = send(queue, make, "long", 20, 0)
    taken = requests(queue.take(most=1))
    for _ in range(24):
        tag = send(queue, make, "long", 20, tag) if taken[-1] == "long" else tag
        queue.put([make("short", 5)])
        taken += requests(queue.take(most=1))
    assert 20 * taken.count("long") == pytest.approx(5 * taken.count("short"), rel=0.5)  # two at a time, half each
