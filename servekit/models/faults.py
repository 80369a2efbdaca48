"""Fault injection: how slow a fake model is told to be, and how it is told to fail."""

import time

from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import by_reason

LOOK_SECONDS = 0.01  # between two looks at the cancellation token


class Faults:
    """The faults of one fake model, as the `options` of its spec have them. They may be changed while it runs.

    Attributes:
        latency_seconds: How long every step takes, slept.
        fail: The reason of the error that every step raises, such as `OUT_OF_MEMORY`; empty for none.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.latency_seconds = float(spec.options.get("latency_seconds", 0.0))
        self.fail = str(spec.options.get("fail", ""))

    def step(self, cancellation: CancellationToken) -> None:
        """Stand before each step of a fake: fail, or take the time, as told.

        Raises:
            ServeError: The one of `fail`.
            Cancelled, DeadlineExceeded: The cancellation token was set.
        """
        if self.fail:
            raise by_reason(self.fail)("this model was told to fail")
        until = time.monotonic() + self.latency_seconds
        cancellation.raise_if_cancelled()
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(LOOK_SECONDS, left))
            cancellation.raise_if_cancelled()
