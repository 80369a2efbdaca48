"""The batch of one engine that works in steps: who is in it, and who takes part in the next step."""

from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from servekit.scheduling.queue import WorkItem


@dataclass(eq=False, slots=True)
class BatchMember:
    """A request in the batch of an engine; its state and key are set once it has begun."""

    item: WorkItem
    joined_at: float
    cost_left: float
    steps: int = 0
    state: Any = None
    key: Hashable = None


class ContinuousBatch:
    """The requests of one engine: those that begin, those that are stepped, those that finish.

    Args:
        max_cost: What the first two may cost per step.
    """

    def __init__(self, max_cost: float) -> None:
        self._max_cost = max_cost
        self._limit = max_cost  # lower after the engine ran out of memory
        self.beginning: dict[Future[None], BatchMember] = {}
        self.members: list[BatchMember] = []  # those that are stepped; the one that has waited longest first
        self.finishing: dict[Future[None], BatchMember] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing begins and nothing is stepped."""
        return not self.beginning and not self.members

    @property
    def room(self) -> float:
        """The cost per step that may join."""
        return self._limit - sum(member.item.batch_cost for member in (*self.beginning.values(), *self.members))

    def begin(self, member: BatchMember, done: Future[None]) -> None:
        """Add a request that is in the batch from when `done` is."""
        if self.empty:
            self._limit = self._max_cost
        self.beginning[done] = member

    def next(self) -> list[BatchMember]:
        """Choose the members of the next step: those who share the key of the one that has waited longest."""
        chosen: list[BatchMember] = []
        others: list[BatchMember] = []
        cost = 0.0
        for member in self.members:
            cost += member.item.batch_cost
            if not chosen or (member.key == chosen[0].key and cost <= self._limit):
                chosen.append(member)
            else:
                cost -= member.item.batch_cost
                others.append(member)
        self.members = others + chosen
        return chosen

    def halve(self, members: Sequence[BatchMember]) -> None:
        """Step at most half of these together until the batch is empty."""
        self._limit = sum(member.item.batch_cost for member in members) / 2
