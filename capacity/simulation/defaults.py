"""The chart's default autoscaling of each service, as the simulation represents it.

Chosen by docs/explanation/decisions/0009-autoscaling.md.
"""

from dataclasses import dataclass

from capacity.simulation.hpa import Behavior, Policy, ScalingRules

MIN_REPLICAS, MAX_REPLICAS = 2, 100


@dataclass(frozen=True, slots=True)
class ScalingDefaults:
    """The autoscaling of one service.

    Attributes:
        share: The target utilization of a pod's engines.
    """

    share: float
    behavior: Behavior


_UP = ScalingRules(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
_DOWN = ScalingRules(300.0, (Policy("Percent", 100, 60.0),))

DEFAULT = ScalingDefaults(0.7, Behavior(MIN_REPLICAS, MAX_REPLICAS, _UP, _DOWN))  # the same for every service
