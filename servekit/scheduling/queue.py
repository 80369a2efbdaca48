"""Jobs, the queue in which they wait, bounded by cost and rid of the dead, and the runs in which they end."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf
from typing import Any

from opentelemetry import context as otel_context

from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import ServeError

SWEEP_SECONDS = 0.05  # least time between two looks through the whole queue


@dataclass(eq=False, slots=True)
class Job:
    """One item on its way to an engine.

    Attributes:
        item: What the caller asked for; later, what `prepare` made of it.
        cost: What it takes, in the model's unit: tokens, audio seconds, megapixels, rows.
        cancellation token: Says whether anybody still waits.
        future: The caller's answer; resolved on the event loop only.
        turn: When it is due, by the clock of its queue: where its caller had its share up to then.
    """

    item: Any
    cost: float
    cancellation: CancellationToken
    future: asyncio.Future[Any]
    turn: float = 0.0
    queued: float = field(default_factory=time.monotonic)
    context: otel_context.Context = field(default_factory=otel_context.get_current)

    def answer(self, outcome: object) -> None:
        """Resolve the future with a result or a `ServeError`, unless nobody waits for it."""
        if self.future.done():
            return
        if isinstance(outcome, ServeError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


@dataclass(slots=True)
class Run:
    """Jobs that an engine ran together.

    Attributes:
        jobs: They.
        cost: What they cost together.
        began: When the engine took them, by `time.monotonic()`.
        ended: When it was through.
        beside: How many runs of the scheduler there were meanwhile, itself included.
        failed: Whether it broke off for an error.
    """

    jobs: Sequence[Job]
    cost: float
    began: float
    ended: float = 0.0
    beside: float = 1.0
    failed: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began

    @property
    def whole(self) -> bool:
        """Whether it did all its work, as far as can be told."""
        return not self.failed and not all(job.cancellation.cancelled for job in self.jobs)


class JobQueue:
    """First in, first out, across threads; but who comes with much at once, bit by bit, shares with the others.

    It is a start-time fair queue (Goyal, Vin and Cheng, 1996). Its clock counts the cost that each of those who wait
    has had; a job is due when it comes, or, if that is later, when the cost of its caller's job before it has gone by.

    Args:
        drop: Told of every job that is taken out because nobody waits for it any more.
    """

    def __init__(self, drop: Callable[[Job], None]) -> None:
        self._drop = drop
        self._jobs: list[tuple[float, int, Job]] = []  # a heap, by turn and then by arrival
        self._arrivals = count()
        self._clock = 0.0
        self._taken = 0.0  # cost that has been taken since the clock was set
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)
        self._closed = False
        self._swept = 0.0
        self.cost = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, jobs: list[Job]) -> None:
        """Add jobs; none is due before now."""
        with self._filled:
            for job in jobs:
                job.turn = max(job.turn, self._clock)
                heappush(self._jobs, (job.turn, next(self._arrivals), job))
            self.cost += sum(job.cost for job in jobs)
            self._filled.notify(len(jobs))

    def take(self, budget: float = inf, most: int = sys.maxsize) -> list[Job]:
        """The next live jobs, as many as fit the budget but at least one; waits for it. Empty once closed."""
        with self._filled:
            while True:
                self._filled.wait_for(lambda: self._jobs or self._closed)
                if taken := self._take(budget, most):
                    return taken
                if self._closed:
                    return []

    def drain(self) -> list[Job]:
        """All live jobs, without waiting."""
        with self._filled:
            return self._take(inf, sys.maxsize)

    def sweep(self) -> None:
        """Drop the dead, so that they take no room from the living; so seldom that it costs a flood nothing."""
        if time.monotonic() < self._swept + SWEEP_SECONDS:
            return
        with self._filled:
            self._swept = time.monotonic()
            living = []
            for entry in self._jobs:
                job = entry[-1]
                if job.cancellation.cancelled:
                    self.cost -= job.cost
                    self._drop(job)
                else:
                    living.append(entry)
            heapify(living)
            self._jobs = living

    def wait_for_room(self, cost: float, jobs: int) -> None:
        """Wait until less than so much, or fewer jobs than so many, are in the queue, or it is closed."""
        with self._emptied:
            self._emptied.wait_for(lambda: self.cost < cost or len(self._jobs) < jobs or self._closed)

    def close(self) -> None:
        """Wake whoever waits; what is left can still be taken."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()

    def _take(self, budget: float, most: int) -> list[Job]:
        taken: list[Job] = []
        spent = 0.0
        self._clock += self._taken / max(1, len(self._jobs))  # those who wait now have waited for what was taken then
        while self._jobs and len(taken) < most and (not taken or spent + self._jobs[0][-1].cost <= budget):
            turn, _, job = heappop(self._jobs)
            self.cost -= job.cost
            if job.cancellation.cancelled:
                self._drop(job)
            else:
                taken.append(job)
                spent += job.cost
                self._clock = max(self._clock, turn)
        self._taken = spent
        if not self._jobs:
            self.cost = 0.0  # no rounding error lives longer than the queue
        self._emptied.notify()
        return taken
