"""Work items, and the start-time fair queue in which they wait for an engine."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf, isnan, nan
from typing import Any

from opentelemetry import context as otel_context

from servekit.context import CancellationToken
from servekit.errors import ServeError

SWEEP_SECONDS = 0.05  # least time between two sweeps of the whole queue


@dataclass(eq=False, slots=True)
class WorkItem:
    """One item on its way to an engine.

    Attributes:
        request: What the caller asked for; later, what `prepare` made of it.
        cost: What it takes, in the model's unit: tokens, audio seconds, megapixels, rows.
        cancellation: Whether the caller still waits.
        future: The caller's answer; resolved on the event loop only.
        start_tag: The virtual time at which it is due: its arrival, or the finish of its caller's item before it.
        batch_cost: Its share of a batch's budget; `cost` unless it takes part in many runs.
        queued_at: When it was queued, by the scheduler's clock.
        context: The trace that it belongs to.
    """

    request: Any
    cost: float
    cancellation: CancellationToken
    future: asyncio.Future[Any]
    start_tag: float = 0.0
    batch_cost: float = nan
    queued_at: float = 0.0
    context: otel_context.Context = field(default_factory=otel_context.get_current)

    def __post_init__(self) -> None:
        if isnan(self.batch_cost):
            self.batch_cost = self.cost

    def resolve(self, outcome: object) -> None:
        """Resolve the future with a result or a `ServeError`, unless it is done."""
        if self.future.done():
            return
        if isinstance(outcome, ServeError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class FairQueue:
    """A thread-safe queue: first in, first out; a caller of many items shares it with the others by cost.

    It is a start-time fair queue (Goyal, Vin and Cheng, 1996). Its virtual time is the cost that each waiting caller
    has been served; an item's start tag is the virtual time of its arrival or, if that is later, of the finish of its
    caller's item before it.

    Args:
        drop: Called with each item that is taken out because it was cancelled.
    """

    def __init__(self, drop: Callable[[WorkItem], None]) -> None:
        self._drop = drop
        self._items: list[tuple[float, int, WorkItem]] = []  # a heap, by start tag and then by arrival
        self._arrivals = count()
        self._virtual_time = 0.0
        self._taken_cost = 0.0  # cost that was taken since the virtual time was advanced
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)
        self._closed = False
        self._swept_at = 0.0
        self.cost = 0.0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, items: list[WorkItem]) -> None:
        """Add items; none gets a start tag before the virtual time."""
        with self._filled:
            for item in items:
                item.start_tag = max(item.start_tag, self._virtual_time)
                heappush(self._items, (item.start_tag, next(self._arrivals), item))
            self.cost += sum(item.cost for item in items)
            self._filled.notify(len(items))

    def take(self, budget: float = inf, most: int = sys.maxsize) -> list[WorkItem]:
        """Wait for the next live items: as many as fit the budget but at least one. Empty once closed."""
        with self._filled:
            while True:
                self._filled.wait_for(lambda: self._items or self._closed)
                if taken := self._take(budget, most):
                    return taken
                if self._closed:
                    return []

    def take_fitting(self, budget: float, at_least: int = 0) -> list[WorkItem]:
        """The next live items that fit the budget, without waiting; up to `at_least` items even if they do not fit."""
        with self._filled:
            return self._take(budget, sys.maxsize, at_least)

    def drain(self) -> list[WorkItem]:
        """All live items, without waiting."""
        with self._filled:
            return self._take(inf, sys.maxsize)

    def sweep(self) -> None:
        """Drop cancelled items, so that they take no room; at most once per `SWEEP_SECONDS`, as it reads every item."""
        if time.monotonic() < self._swept_at + SWEEP_SECONDS:
            return
        with self._filled:
            self._swept_at = time.monotonic()
            live = []
            for entry in self._items:
                item = entry[-1]
                if item.cancellation.cancelled:
                    self.cost -= item.cost
                    self._drop(item)
                else:
                    live.append(entry)
            heapify(live)
            self._items = live

    def wait_for_room(self, cost: float, items: int) -> None:
        """Wait until less than this cost or fewer than these items are in the queue, or it is closed."""
        with self._emptied:
            self._emptied.wait_for(lambda: self.cost < cost or len(self._items) < items or self._closed)

    def close(self) -> None:
        """Wake every waiting thread; what is left can still be taken."""
        with self._filled:
            self._closed = True
            self._filled.notify_all()
            self._emptied.notify_all()

    def _take(self, budget: float, most: int, at_least: int = 1) -> list[WorkItem]:
        taken: list[WorkItem] = []
        cost = batch_cost = 0.0
        # Those who wait now have waited for what was taken since the last time.
        self._virtual_time += self._taken_cost / max(1, len(self._items))
        while self._items and len(taken) < most:
            start_tag, _, item = self._items[0]
            dead = item.cancellation.cancelled
            if not dead and len(taken) >= at_least and batch_cost + item.batch_cost > budget:
                break
            heappop(self._items)
            self.cost -= item.cost
            if dead:
                self._drop(item)
            else:
                taken.append(item)
                cost += item.cost
                batch_cost += item.batch_cost
                self._virtual_time = max(self._virtual_time, start_tag)
        self._taken_cost = cost
        if not self._items:
            self.cost = 0.0  # no rounding error outlives the content of the queue
        self._emptied.notify()
        return taken
