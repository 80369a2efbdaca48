"""Fault injection: the latency and the errors of a fake model."""

import time

from servekit.context import CancellationToken
from servekit.errors import by_reason
from servekit.models.catalogue import ModelSpec

POLL_SECONDS = 0.01  # between two checks of the cancellation token


class Faults:
    """The faults of one fake model, read from the `options` of its spec. They may be changed while it runs.

    Attributes:
        latency_seconds: The time that every step sleeps.
        fail: The reason of the error that every step raises, such as `OUT_OF_MEMORY`; empty for no error.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.latency_seconds = float(spec.options.get("latency_seconds", 0.0))
        self.fail = str(spec.options.get("fail", ""))

    def step(self, cancellation: CancellationToken) -> None:
        """Fail or sleep, as the faults say; a fake calls this before each step.

        Raises:
            ServeError: The error whose reason is `fail`.
            Cancelled, DeadlineExceeded: The token was cancelled.
        """
        if self.fail:
            raise by_reason(self.fail)("injected fault")
        until = time.monotonic() + self.latency_seconds
        cancellation.raise_if_cancelled()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(POLL_SECONDS, left))
            cancellation.raise_if_cancelled()
