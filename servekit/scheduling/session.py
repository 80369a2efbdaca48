"""Sessions: items that one caller sends one by one, admitted to a scheduler as one reservation."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from servekit.scheduling.admission import Reservation

Request = TypeVar("Request")
Result = TypeVar("Result")


class Session(Reservation, Generic[Request, Result]):
    """A reservation and the items that use it; made by `BatchScheduler.session`.

    Args:
        run: Runs an item of this session, of the given cost.
        cost: The cost that all items are expected to have together.

    Attributes:
        start_tag: The start tag of its next item: where the last one finishes in the queue's virtual time.
    """

    def __init__(
        self, run: "Callable[[Session[Request, Result], Request, float], Awaitable[Result]]", cost: float
    ) -> None:
        super().__init__(cost)
        self._run = run
        self.start_tag = 0.0

    async def submit(self, request: Request, cost: float = 1.0) -> Result:
        """Run the next item, in a batch with others; it waits for its fair share of the engines and is not rejected.

        Raises:
            ServeError: The model rejected this item, or its caller no longer waits.
        """
        return await self._run(self, request, cost)
