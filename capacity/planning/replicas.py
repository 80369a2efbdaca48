"""The number of pods for a rate of requests, from the curves of the services."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from capacity.curve import Curve, Curves
from capacity.errors import CapacityError

SHARE = 0.7  # target utilization of a pod's engines; the rest absorbs bursts until new pods are ready


@dataclass(frozen=True)
class OfferedLoad:
    """Requests of one kind.

    Attributes:
        kind: The name in `--rate`.
        service: The service that serves them.
        rate: Requests per second.
        curve: Their cost.
        bound: The most requests per second of a pod, by its GPU's bandwidth.
    """

    kind: str
    service: str
    rate: float
    curve: Curve
    bound: float = math.inf

    def writing(self, texts: int, tokens: float) -> "OfferedLoad":
        """Limit a pod to `texts` concurrent texts and `tokens` per second, if its calls generate text."""
        if not self.curve.tokens:
            return self
        return replace(self, curve=self.curve.limited(texts), bound=tokens / self.curve.tokens)

    @property
    def full(self) -> float:
        """Requests per second of a fully used pod."""
        return min(self.curve.rate, self.bound)

    def pods(self, share: float) -> float:
        """The number of pods at this utilization."""
        return self.rate / (self.full * share)


def offered_loads(rates: Mapping[str, float], known: Curves, instead: Mapping[str, str]) -> tuple[OfferedLoad, ...]:
    """The offered load of each kind, with its curve.

    Args:
        rates: Requests per second by kind.
        known: The profile's curves.
        instead: Servers that replace a service.

    Raises:
        CapacityError: A kind of call has no curve.
    """
    for kind in rates:
        if kind not in known.services:
            raise CapacityError(f"--rate {kind}: the profile has no such curve; it has {', '.join(known.services)}")
    rows = ((kind, rate, known.services[kind]) for kind, rate in rates.items())
    return tuple(OfferedLoad(kind, instead.get(row.service, row.service), rate, row) for kind, rate, row in rows)


def replicas(asked: tuple[OfferedLoad, ...], share: float = SHARE) -> dict[str, int]:
    """Pods of each service; the kinds of calls of one service share its pods."""
    pods: dict[str, float] = {}
    for load in asked:
        pods[load.service] = pods.get(load.service, 0.0) + load.pods(share)
    return {service: max(1, math.ceil(count - 1e-9)) for service, count in pods.items()}
