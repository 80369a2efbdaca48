"""One call: whose it is, how long it may take, and whether anybody still waits for it."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from servekit.errors import Cancelled, DeadlineExceeded

DEFAULT_TENANT = "default"

# Where tenant and request id travel, in the metadata of gRPC and the headers of HTTP, and what either may look like.
TENANT = "x-polyphony-tenant"
REQUEST_ID = "x-request-id"
NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Flag:
    """Says to a running engine that nobody waits for its work any more.

    An engine looks at it between steps: tokens, segments, denoising steps,
    chunks of a long prefill. Safe to use from any thread.

    Args:
        deadline: The moment, by `time.monotonic()`, after which the work is useless.
        parent: A flag whose setting sets this one, too.
    """

    __slots__ = ("_parent", "_set", "deadline")

    def __init__(self, deadline: float = float("inf"), parent: "Flag | None" = None) -> None:
        self.deadline: float = min(deadline, parent.deadline) if parent else deadline
        self._parent = parent
        self._set = False

    def set(self) -> None:
        """The caller has gone."""
        self._set = True

    def abandoned(self) -> bool:
        """Whether the caller has gone."""
        return self._set or (self._parent is not None and self._parent.abandoned())

    def is_set(self) -> bool:
        """Whether to stop: the caller has gone, or the deadline has passed."""
        return self.abandoned() or time.monotonic() >= self.deadline

    def check(self) -> None:
        """Stop here if nobody waits.

        Raises:
            Cancelled: The caller has gone.
            DeadlineExceeded: The deadline has passed.
        """
        if self.abandoned():
            raise Cancelled("the caller went away")
        if self.is_set():
            raise DeadlineExceeded("the deadline passed before the work was done")

    def remaining(self) -> float:
        """Seconds until the deadline; infinite without one, never negative."""
        return max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class Call:
    """What travels with a request through every hop.

    Attributes:
        tenant: The owner of the API key; media, collections and voices belong to a tenant.
        request_id: Names the request in every log line and error.
        flag: The deadline, and whether the caller is still there.
    """

    tenant: str = DEFAULT_TENANT
    request_id: str = ""
    flag: Flag = field(default_factory=Flag)


_current: ContextVar[Call] = ContextVar("call")


def current() -> Call:
    """The call that this task works for; a fresh one outside of any."""
    return _current.get(None) or Call()


def enter(call: Call) -> None:
    """Make `call` the current one of this task and of the tasks that it starts."""
    _current.set(call)
