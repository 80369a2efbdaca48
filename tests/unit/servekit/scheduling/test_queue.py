"""The queue: first in first out, within a budget, without the dead, across threads."""

import asyncio
import threading
import time

import pytest

from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import InvalidArgument
from servekit.scheduling import queue as jobs
from servekit.scheduling.queue import Job, JobQueue


class Dead(list):
    def __call__(self, job):
        self.append(job.item)


@pytest.fixture
def dead():
    return Dead()


@pytest.fixture
def queue(dead):
    return JobQueue(dead)


@pytest.fixture
async def make():
    def make(item, cost=1.0, cancellation=None, turn=0.0):
        return Job(item, cost, cancellation or CancellationToken(), asyncio.get_running_loop().create_future(), turn)

    return make


def items(taken):
    return [job.item for job in taken]


async def test_takes_what_fits_the_budget_in_order_and_at_least_one(queue, make):
    queue.put([make("a", 9.0), make("b", 2.0), make("c", 2.0), make("d", 2.0)])
    assert items(queue.take(4)) == ["a"]
    assert items(queue.take(4)) == ["b", "c"]
    assert queue.cost == 2.0
    assert items(queue.take(4)) == ["d"]
    assert (queue.cost, len(queue)) == (0.0, 0)


async def test_takes_no_more_than_it_is_told_even_of_what_costs_nothing(queue, make):
    queue.put([make("a", 0.0), make("b", 0.0)])
    assert items(queue.take(most=1)) == ["a"]
    assert items(queue.take(most=1)) == ["b"]


async def test_passes_the_dead_to_drop_and_not_to_the_engine(queue, make, dead):
    gone, late = CancellationToken(), CancellationToken(time.monotonic() - 1)
    gone.cancel()
    queue.put([make("gone", 5.0, gone), make("late", 5.0, late), make("alive"), make("alive too")])
    assert items(queue.take(2)) == ["alive", "alive too"]
    assert dead == ["gone", "late"]


async def test_sweeps_the_dead_and_keeps_the_order_of_the_living(queue, make, dead, monkeypatch):
    cancellations = [CancellationToken() for _ in range(6)]
    queue.put([make(n, 1.0, cancellation) for n, cancellation in enumerate(cancellations)])
    for cancellation in cancellations[::2]:
        cancellation.cancel()
    queue.sweep()
    assert (dead, queue.cost) == ([0, 2, 4], 3.0)
    monkeypatch.setattr(jobs, "SWEEP_SECONDS", 60.0)
    cancellations[1].cancel()
    queue.sweep()  # too soon to look again
    assert dead == [0, 2, 4]
    monkeypatch.setattr(jobs, "SWEEP_SECONDS", 0.0)
    queue.sweep()
    assert dead == [0, 2, 4, 1]
    assert items(queue.drain()) == [3, 5]


async def test_close_wakes_takers_and_leaves_what_is_left(queue, make):
    taken = []
    thread = threading.Thread(target=lambda: taken.append(queue.take(1)))
    thread.start()
    queue.close()
    thread.join(5)
    assert taken == [[]]
    queue.put([make("left")])
    assert items(queue.take(1)) == ["left"]
    assert queue.take(1) == []


async def test_whoever_waits_for_room_is_woken_by_taking_and_by_closing(queue, make):
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


async def test_many_threads_lose_and_double_nothing(queue, make):
    seen, lock = [], threading.Lock()

    def take():
        while jobs := queue.take(3):
            with lock:
                seen.extend(items(jobs))

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


async def test_an_answer_goes_to_the_caller_once(make):
    job = make("a")
    job.answer(InvalidArgument("bad"))
    job.answer(1)
    with pytest.raises(InvalidArgument):
        await job.future
    left = make("b")
    left.future.cancel()
    left.answer(1)
    assert left.future.cancelled()


def send(queue, make, item, cost, turn):
    """Put the next job of a caller whose last one ended at `turn`; returns where this one ends."""
    job = make(item, cost, turn=turn)
    queue.put([job])
    return job.turn + cost


async def test_a_newcomer_goes_before_the_second_of_another(queue, make):
    turn = send(queue, make, "long 1", 30, 0)
    assert items(queue.take(most=1)) == ["long 1"]
    send(queue, make, "long 2", 30, turn)
    send(queue, make, "short", 5, 0)
    assert items(queue.take(most=1)) == ["short"]
    assert items(queue.take(most=1)) == ["long 2"]


async def test_two_long_ones_take_turns(queue, make):
    turns = {"a": 0.0, "b": 0.0}
    for owner in ("a", "a", "a", "b", "b", "b"):
        turns[owner] = send(queue, make, owner, 10, turns[owner])
    assert items(queue.take()) == ["a", "b", "a", "b", "a", "b"]


async def test_who_was_idle_has_saved_nothing(queue, make):
    turn = send(queue, make, "early", 10, 0)
    for _ in range(20):
        queue.take(most=1)
        queue.put([make("other", 10)])
    send(queue, make, "early", 10, turn)
    assert items(queue.take()) == ["other", "early"]


async def test_a_flood_of_newcomers_starves_nobody(queue, make):
    turn = send(queue, make, "long", 20, 0)
    taken = items(queue.take(most=1))
    for _ in range(24):
        turn = send(queue, make, "long", 20, turn) if taken[-1] == "long" else turn
        queue.put([make("short", 5)])
        taken += items(queue.take(most=1))
    assert 20 * taken.count("long") == pytest.approx(5 * taken.count("short"), rel=0.5)  # two at a time, half each
