"""One run of an engine, with its cost and its time."""

from collections.abc import Sequence
from dataclasses import dataclass

from servekit.scheduling.queue import WorkItem


@dataclass(slots=True)
class Run:
    """Items that an engine runs together.

    Attributes:
        items: The items.
        cost: Their cost together.
        started_at: When the engine took them, by the scheduler's clock.
        ended_at: When it was done.
        concurrency: How many runs of the scheduler there were at the same time, this one included.
        failed: Whether it ended with an error.
    """

    items: Sequence[WorkItem]
    cost: float
    started_at: float
    ended_at: float = 0.0
    concurrency: float = 1.0
    failed: bool = False

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended_at - self.started_at

    @property
    def complete(self) -> bool:
        """Whether it did all its work: it did not fail, and was not cancelled by all callers."""
        return not self.failed and not all(item.cancellation.cancelled for item in self.items)
