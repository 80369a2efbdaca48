"""The context of a request: its tenant, its id, its deadline and its cancellation."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from servekit.errors import Cancelled, DeadlineExceeded

DEFAULT_TENANT = "default"

# Names of the tenant and the request id in gRPC metadata and HTTP headers, and the form of their values.
TENANT = "x-polyphony-tenant"
REQUEST_ID = "x-request-id"
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class CancellationToken:
    """Tells running work to stop: its caller has disconnected, or its deadline has passed.

    Engines check it between steps: tokens, segments, denoising steps, chunks of a long prefill. Safe to use from any
    thread.

    Args:
        deadline: The time, by `time.monotonic()` in seconds, after which the result is useless.
        parent: A token whose cancellation cancels this one, too. The earlier of both deadlines counts.
    """

    __slots__ = ("_cancelled", "_parent", "deadline")

    def __init__(self, deadline: float = float("inf"), parent: "CancellationToken | None" = None) -> None:
        self.deadline: float = min(deadline, parent.deadline) if parent else deadline
        self._parent = parent
        self._cancelled = False

    def cancel(self) -> None:
        """Cancel the work: the caller has disconnected."""
        self._cancelled = True

    @property
    def disconnected(self) -> bool:
        """Whether `cancel` was called, here or on a parent."""
        return self._cancelled or (self._parent is not None and self._parent.disconnected)

    @property
    def cancelled(self) -> bool:
        """Whether to stop: the caller has disconnected, or the deadline has passed."""
        return self.disconnected or time.monotonic() >= self.deadline

    def raise_if_cancelled(self) -> None:
        """Stop here if the result is no longer wanted.

        Raises:
            Cancelled: The caller has disconnected.
            DeadlineExceeded: The deadline has passed.
        """
        if self.disconnected:
            raise Cancelled("the caller disconnected")
        if self.cancelled:
            raise DeadlineExceeded("the deadline passed before the work was done")

    def remaining_seconds(self) -> float:
        """Seconds until the deadline; infinite without one, never negative."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The context of a request, which every call on its behalf carries on.

    Attributes:
        tenant: The owner of the API key; media, collections and voices belong to a tenant.
        request_id: Identifies the request in every log line and error.
        cancellation: Its deadline, and whether its caller still waits.
    """

    tenant: str = DEFAULT_TENANT
    request_id: str = ""
    cancellation: CancellationToken = field(default_factory=CancellationToken)


_current: ContextVar[RequestContext] = ContextVar("request_context")


def current() -> RequestContext:
    """The context of the request that this task works for; a fresh one outside of any."""
    return _current.get(None) or RequestContext()


def enter(context: RequestContext) -> None:
    """Make `context` the current one of this task and of the tasks that it starts."""
    _current.set(context)
