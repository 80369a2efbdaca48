"""Admission control: whether a queue takes more work. It uses no event loop, thread or clock."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from servekit.errors import Overloaded
from servekit.scheduling.service_time import DECAY, ServiceTimeModel

DEADLINE_SHARE = 0.8  # of the time left that wait and run may take: estimates err, and the answer has to travel
MIN_RETRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Backlog:
    """The work that engines have before them, and how many engines there are.

    Attributes:
        queued_items: Items in the queue.
        queued_cost: Their cost together.
        started_items: Items, or batches of them, that have left the queue: prepared for an engine, or running.
        started_cost: Their cost together.
        engines: The number of engines that run.
    """

    queued_items: int
    queued_cost: float
    started_items: int
    started_cost: float
    engines: int


class Reservation:
    """Cost that was admitted for items that arrive one by one.

    Args:
        cost: The cost that all items are expected to have together.

    Attributes:
        spent: The cost of the items so far.
    """

    def __init__(self, cost: float) -> None:
        self._cost = cost
        self.spent = 0.0

    @property
    def left(self) -> float:
        """The cost that is yet to arrive; never negative."""
        return max(0.0, self._cost - self.spent)


AnyReservation = TypeVar("AnyReservation", bound=Reservation)


class ReservationCalibration:
    """The share of what callers reserve that they use: recordings, for example, are partly silent."""

    def __init__(self) -> None:
        self._reserved = self._used = 0.0

    @property
    def used_share(self) -> float:
        """The share of a reservation that is used; 1 until one has ended."""
        return self._used / self._reserved if self._reserved else 1.0

    def observe(self, reserved: float, used: float) -> None:
        """Add a reservation that has ended; old ones fade."""
        self._reserved += reserved - DECAY * self._reserved
        self._used += used - DECAY * self._used


class Admission:
    """Admits work that fits the queue's cost and its own deadline; rejects the rest at once, with a delay to retry.

    Args:
        name: The model's id, for errors.
        service_time: Predicts how long a backlog takes.
        max_queue_cost: The cost that may wait.
        max_reservations: The most concurrent reservations, each of which holds memory.
    """

    def __init__(
        self,
        name: str,
        service_time: ServiceTimeModel,
        *,
        max_queue_cost: float,
        max_reservations: int = sys.maxsize,
    ) -> None:
        self._name = name
        self._service_time = service_time
        self._max_queue_cost = max_queue_cost
        self._max_reservations = max_reservations
        self._reservations: set[Reservation] = set()
        self.calibration = ReservationCalibration()

    def admit(self, cost: float, seconds: float, backlog: Backlog, remaining_seconds: float) -> None:
        """Check that there is room and time for an item.

        Args:
            cost: The item's cost.
            seconds: How long an engine will work at it.
            backlog: What is before it.
            remaining_seconds: The time until its deadline.

        Raises:
            Overloaded: The queue is full, or the item would not be done before its deadline.
        """
        reserved = self.reserved_cost(cost)
        wait = self.wait_seconds(backlog, reserved)
        retry_after = max(wait, MIN_RETRY_SECONDS)
        queued = backlog.queued_cost + reserved
        if (backlog.queued_items or reserved) and queued + cost > self._max_queue_cost:
            raise Overloaded(f"the queue of {self._name} is full ({self._max_queue_cost:g})", retry_after=retry_after)
        if wait and wait + seconds > remaining_seconds * DEADLINE_SHARE:
            raise Overloaded(f"{self._name} cannot answer before the deadline", retry_after=retry_after)

    def admit_reservation(self, cost: float, seconds: float, backlog: Backlog, remaining_seconds: float) -> None:
        """Check that there is room and time for a reservation; the arguments are those of `admit`.

        Raises:
            Overloaded: As `admit`, or there are too many reservations.
        """
        if len(self._reservations) >= self._max_reservations:
            wait = self.wait_seconds(backlog, self.reserved_cost(cost))
            problem = f"{self._name} has too many sessions ({self._max_reservations})"
            raise Overloaded(problem, retry_after=max(wait, MIN_RETRY_SECONDS))
        self.admit(cost, seconds, backlog, remaining_seconds)

    @contextmanager
    def reserve(self, reservation: AnyReservation) -> Iterator[AnyReservation]:
        """Hold a reservation that was admitted."""
        self._reservations.add(reservation)
        try:
            yield reservation
        finally:
            self._reservations.discard(reservation)

    def reserved_cost(self, cost: float = float("inf")) -> float:
        """The reserved cost that runs before an item of a cost that arrives now; without one, all of it."""
        # Reservations share the engines fairly: until so much has run, none of them has had more.
        return sum(min(reservation.left, cost) for reservation in self._reservations)

    def wait_seconds(self, backlog: Backlog, reserved_cost: float = 0.0) -> float:
        """Seconds until an engine takes what arrives now."""
        items = sys.maxsize if reserved_cost else backlog.queued_items + backlog.started_items
        cost = backlog.queued_cost + backlog.started_cost + reserved_cost
        return self._service_time.backlog_seconds(cost, items) / max(1, backlog.engines)
