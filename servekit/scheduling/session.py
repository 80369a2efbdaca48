"""Sessions: much that one caller sends bit by bit, admitted to a scheduler as one."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")

FORGETTING = 0.02  # what a new session weighs in what promises are worth


class Session(Generic[Request, Result]):
    """What one caller was admitted with, and what of it has come; made by `BatchScheduler.session`.

    Args:
        run: Runs an item of this session, of such a cost.
        cost: What all its items are expected to cost together.

    Attributes:
        spent: What its items have cost so far.
        turn: When its next item is due, by the clock of the queue.
    """

    def __init__(
        self, run: "Callable[[Session[Request, Result], Request, float], Awaitable[Result]]", cost: float
    ) -> None:
        self._run = run
        self._cost = cost
        self.spent = 0.0
        self.turn = 0.0

    @property
    def left(self) -> float:
        """What is yet to come."""
        return max(0.0, self._cost - self.spent)

    async def submit(self, request: Request, cost: float = 1.0) -> Result:
        """Run the next item with whatever runs beside it; it waits for its caller's fair share, and is not refused.

        Raises:
            ServeError: What the model said of this item, or that nobody waits for it any more.
        """
        return await self._run(self, request, cost)


class Promises:
    """What callers say that they will send, against what they sent: recordings are partly silent."""

    def __init__(self) -> None:
        self._promised = self._kept = 0.0

    @property
    def worth(self) -> float:
        """The share of a promise that comes; all, as long as nothing is known."""
        return self._kept / self._promised if self._promised else 1.0

    def learn(self, promised: float, kept: float) -> None:
        """Take an ended session into account."""
        self._promised += promised - FORGETTING * self._promised
        self._kept += kept - FORGETTING * self._kept
