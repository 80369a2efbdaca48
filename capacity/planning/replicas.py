"""How many pods a rate of calls takes, from the curves of the services."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from capacity.curve import Curve, Curves
from capacity.errors import CapacityError

SHARE = 0.7  # of a pod's engines that is to be busy; the rest is what a burst lives on until more pods are there


@dataclass(frozen=True)
class OfferedLoad:
    """Calls of one kind.

    Attributes:
        kind: As `--rate` names it.
        service: Whose pods answer them.
        rate: Calls a second.
        curve: What they cost.
        bound: Calls a second that a pod answers at most, whatever its curve says: its GPU's bandwidth.
    """

    kind: str
    service: str
    rate: float
    curve: Curve
    bound: float = math.inf

    def writing(self, texts: int, tokens: float) -> "OfferedLoad":
        """The same where a pod writes so many texts at once, and so many tokens a second at most; calls that write no
        text are as they were."""
        if not self.curve.tokens:
            return self
        return replace(self, curve=self.curve.limited(texts), bound=tokens / self.curve.tokens)

    @property
    def full(self) -> float:
        """Calls a second of a pod that is full."""
        return min(self.curve.rate, self.bound)

    def pods(self, share: float) -> float:
        """Pods that they keep busy to that share."""
        return self.rate / (self.full * share)


def demands(rates: Mapping[str, float], known: Curves, instead: Mapping[str, str]) -> tuple[OfferedLoad, ...]:
    """What is asked for, with its curve.

    Args:
        rates: Calls a second, by kind.
        known: The profile's curves.
        instead: What answers in place of a service.

    Raises:
        CapacityError: A kind of call has no curve.
    """
    for kind in rates:
        if kind not in known.services:
            raise CapacityError(f"--rate {kind}: the profile has no curve of it; it has {', '.join(known.services)}")
    rows = ((kind, rate, known.services[kind]) for kind, rate in rates.items())
    return tuple(OfferedLoad(kind, instead.get(row.service, row.service), rate, row) for kind, rate, row in rows)


def replicas(asked: tuple[OfferedLoad, ...], share: float = SHARE) -> dict[str, int]:
    """Pods of each service; the kinds of calls of one service share its pods."""
    pods: dict[str, float] = {}
    for demand in asked:
        pods[demand.service] = pods.get(demand.service, 0.0) + demand.pods(share)
    return {service: max(1, math.ceil(count - 1e-9)) for service, count in pods.items()}
