"""How the chart scales each service: the `autoscaling` of charts/polyphony/values.yaml, as the simulation has it.

Chosen by docs/decisions/0009-autoscaling.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from capacity.simulation.hpa import Behavior, Policy, Rules
from servekit.catalogue import Service


@dataclass(frozen=True, slots=True)
class Default:
    """One service's.

    Attributes:
        share: Of a pod's engines: the target is so many demanded engine-seconds a second, for each of its engines.
    """

    share: float
    behavior: Behavior


_UP = Rules(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
_DOWN = Rules(300.0, (Policy("Percent", 100, 15.0),))

DEFAULTS: Mapping[Service, Default] = {
    service: Default(0.7, Behavior(2, 100, _UP, _DOWN)) for service in ("vision", "speech", "generation", "retrieval")
}
