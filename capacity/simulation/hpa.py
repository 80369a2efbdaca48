"""The Horizontal Pod Autoscaler's published algorithm, as pure functions.

Source: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/, sections "Algorithm details" and
"Configurable scaling behavior", for autoscaling/v2 with one metric of type Pods and an `averageValue`, or a
resource. Where the page is short, the controller decides (kubernetes/kubernetes, `pkg/controller/podautoscaler`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Literal

Kind = Literal["Pods", "Percent"]
Select = Literal["Max", "Min", "Disabled"]

SYNC_SECONDS = 15.0
TOLERANCE = 0.1
_EXACT = 1e-9  # 12 * 1.75 is 21 replicas, whatever binary fractions say


@dataclass(frozen=True, slots=True)
class Policy:
    """The limit of change within a period.

    Attributes:
        kind: Whether `value` counts pods, or percent of the replicas at the period's start.
        value: The limit.
        period_seconds: The period.
    """

    kind: Kind
    value: int
    period_seconds: float


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """`scaleUp` or `scaleDown` of a `behavior`, with one policy or more."""

    stabilization_seconds: float
    policies: tuple[Policy, ...]
    select: Select = "Max"


DEFAULT_UP = ScalingRules(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
DEFAULT_DOWN = ScalingRules(300.0, (Policy("Percent", 100, 15.0),))


@dataclass(frozen=True, slots=True)
class Behavior:
    """The part of an HPA's `spec` that the algorithm uses, without its metric.

    Attributes:
        min_replicas: `minReplicas`.
        max_replicas: `maxReplicas`.
        tolerance: The deviation of the ratio from 1 that is ignored.
    """

    min_replicas: int = 1
    max_replicas: int = 100
    up: ScalingRules = DEFAULT_UP
    down: ScalingRules = DEFAULT_DOWN
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True)
class MetricReading:
    """The metrics of the pods of one workload.

    Attributes:
        values: The metric of each running pod that has one.
        unready: Pods that are pending; for CPU also those that are not ready yet.
        missing: Running pods without a value.
    """

    values: Sequence[float]
    unready: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """The state of the controller between two evaluations, each entry with its time in seconds."""

    recommendations: tuple[tuple[float, int], ...] = ()
    changes: tuple[tuple[float, int], ...] = ()


def recommend(reading: MetricReading, current: int, target: float, tolerance: float = TOLERANCE) -> int:
    """Replicas for a reading, before any behavior: `ceil(current * metric / target)` with the page's reservations.

    Pods without a value count as idle where more are wanted and as on target where fewer are; pods that are not
    ready count as idle where more are wanted and not at all where fewer are. Neither may turn the direction.
    """
    if not reading.values:
        return current
    total, count = sum(reading.values), len(reading.values)
    ratio = total / count / target
    idle = reading.unready if ratio > 1 else 0
    if not idle and not reading.missing:
        return current if _within(ratio, tolerance) else _up(ratio * count)
    if reading.missing:
        total += target * reading.missing if ratio < 1 else 0.0
        count += reading.missing
    count += idle
    damped = total / count / target
    if _within(damped, tolerance) or (ratio < 1) != (damped < 1):
        return current
    wanted = _up(damped * count)
    turned = wanted > current if damped < 1 else wanted < current
    return current if turned else wanted


def _within(ratio: float, tolerance: float) -> bool:
    return abs(ratio - 1) <= tolerance + _EXACT


def _up(replicas: float) -> int:
    return ceil(replicas - _EXACT)


def scale(recommended: int, current: int, now: float, behavior: Behavior, history: History) -> tuple[int, History]:
    """The desired replicas: a recommendation after stabilization, rate policies, minimum and maximum.

    A workload of no replicas stays so, unless `min_replicas` is 0 too. In the first evaluation the windows hold the
    current replicas (the controller's `recordInitialRecommendation`), so that they stabilise from the start.

    Args:
        recommended: The result of `recommend`.
        current: The current replicas.
        now: Seconds on the clock of `history`.
        behavior: The HPA's.
        history: The state that the last evaluation returned.
    """
    up, down = behavior.up, behavior.down
    earlier = history.recommendations or ((now, current),)
    if current == 0 and behavior.min_replicas > 0:
        return 0, replace(history, recommendations=earlier)
    lowest = min((recommended, *(value for at, value in earlier if at > now - up.stabilization_seconds)))
    highest = max((recommended, *(value for at, value in earlier if at > now - down.stabilization_seconds)))
    stable = min(max(current, lowest), highest)
    if stable > current:
        wanted = min(stable, behavior.max_replicas, max(current, _ceiling(up, current, now, history)))
    elif stable < current:
        wanted = max(stable, behavior.min_replicas, min(current, _floor(down, current, now, history)))
    else:
        wanted = current
    wanted = min(max(wanted, behavior.min_replicas), behavior.max_replicas)
    longest = max(up.stabilization_seconds, down.stabilization_seconds)
    kept = (*(row for row in earlier if row[0] > now - longest), (now, recommended))
    history = replace(history, recommendations=kept)
    if wanted != current:
        period = max(policy.period_seconds for policy in (*up.policies, *down.policies))
        recent = tuple(row for row in history.changes if row[0] > now - period)
        history = replace(history, changes=(*recent, (now, wanted - current)))
    return wanted, history


def _ceiling(rules: ScalingRules, current: int, now: float, history: History) -> int:
    """The most replicas that the policies of `scaleUp` allow."""
    if rules.select == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = current - _changed(policy, now, history)
        limits.append(start + policy.value if policy.kind == "Pods" else _up(start * (1 + policy.value / 100)))
    return max(limits) if rules.select == "Max" else min(limits)


def _floor(rules: ScalingRules, current: int, now: float, history: History) -> int:
    """The fewest replicas that the policies of `scaleDown` allow."""
    if rules.select == "Disabled":
        return current
    limits = []
    for policy in rules.policies:
        start = current - _changed(policy, now, history)
        limits.append(
            start - policy.value if policy.kind == "Pods" else floor(start * (1 - policy.value / 100) + _EXACT)
        )
    return min(limits) if rules.select == "Max" else max(limits)


def _changed(policy: Policy, now: float, history: History) -> int:
    """Replicas gained, less those lost, within a policy's period."""
    return sum(change for at, change in history.changes if at > now - policy.period_seconds)
