"""What came of a replay, in figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class RequestOutcome(IntEnum):
    """How a call ended."""

    ANSWERED = 0
    LATE = 1  # admitted, and not answered before its deadline
    REFUSED = 2
    UNSERVED = 3  # no pod was known


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """The pods at one time: those that are ready, and all that the workload has."""

    seconds: float
    ready: int
    pods: int


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """A replay.

    Attributes:
        arrivals: When each call came, in seconds, shape (calls,).
        latencies: Seconds of each answer, not a number where there was none, shape (calls,).
        fates: A `Fate` each, shape (calls,), uint8.
        moments: The pods, every 15 s.
        pod_seconds: What all pods lived together, within the trace.
    """

    arrivals: NDArray[np.float64]
    latencies: NDArray[np.float64]
    fates: NDArray[np.uint8]
    moments: Sequence[ClusterSnapshot]
    pod_seconds: float

    def latency(self, share: float) -> float:
        """Seconds within which `share` of the answers came; not a number of none."""
        return float(np.nanquantile(self.latencies, share)) if self.count(RequestOutcome.ANSWERED) else float("nan")

    def count(self, *fates: RequestOutcome) -> int:
        """Calls that ended so."""
        return int(np.isin(self.fates, fates).sum())

    def share(self, *fates: RequestOutcome) -> float:
        """Of all calls, those that ended so; 0 of none."""
        return self.count(*fates) / max(1, len(self.fates))

    @property
    def failed(self) -> float:
        """The share of calls without an answer in time."""
        return 1 - self.share(RequestOutcome.ANSWERED) if len(self.fates) else 0.0

    @property
    def pod_hours(self) -> float:
        """Hours of pods: of GPUs, where each has one."""
        return self.pod_seconds / 3600
