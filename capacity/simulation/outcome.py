"""The result of a simulation."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class RequestOutcome(IntEnum):
    """How a request ended."""

    ANSWERED = 0
    LATE = 1  # admitted, and not answered before its deadline
    REJECTED = 2
    UNSERVED = 3  # no pod was known


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The pods at one time: ready ones and all of the workload."""

    seconds: float
    ready: int
    pods: int


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The result of one simulation.

    Attributes:
        arrivals: The arrival time of each request in seconds, shape (calls,).
        latencies: The latency of each answer in seconds, NaN without an answer, shape (calls,).
        outcomes: The `RequestOutcome` of each request, shape (calls,), uint8.
        snapshots: The pods, every 15 s.
        pod_seconds: The total lifetime of all pods within the trace.
    """

    arrivals: NDArray[np.float64]
    latencies: NDArray[np.float64]
    outcomes: NDArray[np.uint8]
    snapshots: Sequence[ClusterSnapshot]
    pod_seconds: float

    def latency(self, share: float) -> float:
        """The quantile `share` of the latency in seconds; NaN without answers."""
        return float(np.nanquantile(self.latencies, share)) if self.count(RequestOutcome.ANSWERED) else float("nan")

    def count(self, *outcomes: RequestOutcome) -> int:
        """The number of requests with these outcomes."""
        return int(np.isin(self.outcomes, outcomes).sum())

    def share(self, *outcomes: RequestOutcome) -> float:
        """The share of requests with these outcomes; 0 without requests."""
        return self.count(*outcomes) / max(1, len(self.outcomes))

    @property
    def failed(self) -> float:
        """The share of requests without an answer in time."""
        return 1 - self.share(RequestOutcome.ANSWERED) if len(self.outcomes) else 0.0

    @property
    def pod_hours(self) -> float:
        """Pod hours, which are GPU hours where each pod has one."""
        return self.pod_seconds / 3600
