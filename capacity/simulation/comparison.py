"""A comparison of scaling metrics on the same load."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil

from capacity.curve import Curve
from capacity.simulation.cluster import Environment, replay
from capacity.simulation.hpa import Behavior
from capacity.simulation.outcome import SimulationResult
from capacity.simulation.scaling import TARGETS, Metric, Scaler
from capacity.simulation.traces import LoadTrace

PERFECT = 0.01  # the share of calls that may fail with the perfect number of pods
MAX_CALLS = 60_000  # that are simulated one by one
COARSE_SECONDS = 0.25  # the longest duration of a simulated call that represents several
MIN_TOGETHER = 4  # concurrent simulated calls of a full pod, where each represents several


@dataclass(frozen=True, slots=True)
class Case:
    """The setting of a comparison.

    Attributes:
        trace: The load.
        curve: A pod.
        behavior: The behavior of the HPA.
        seed: The random seed.
        around: The environment.
    """

    trace: LoadTrace
    curve: Curve
    behavior: Behavior
    seed: int = 1
    around: Environment = field(default_factory=Environment)

    def shortened(self) -> tuple["Case", int]:
        """The same case, where one simulated call represents several if there are too many; and how many."""
        curve = self.curve
        room = curve.batch if curve.kind == "batch" else curve.engines
        wanted = self.trace.rates.sum() / MAX_CALLS
        fit = [calls for calls in range(1, room // MIN_TOGETHER + 1) if room % calls == 0] or [1]
        side_by_side = next((calls for calls in fit if calls >= wanted), fit[-1])
        in_sequence = max(1, min(ceil(wanted / side_by_side), int(COARSE_SECONDS / curve.seconds[0][1])))
        calls = side_by_side * in_sequence
        if calls == 1:
            return self, 1
        trace = replace(self.trace, rates=self.trace.rates / calls)
        return replace(self, trace=trace, curve=curve.grouped(side_by_side).bundled(in_sequence)), calls

    def run(self, metric: Metric, target: float) -> SimulationResult:
        """Simulate one scaling metric."""
        return replay(self.trace, self.curve, Scaler(metric, target, self.behavior), self.seed, self.around)

    def perfect(self) -> tuple[int, SimulationResult]:
        """The smallest fixed number of pods that serves nearly all requests, known in hindsight."""
        peak = float(self.trace.rates.max()) / self.curve.rate
        low, high = max(1, int(self.trace.rates.mean() / self.curve.rate)), max(2, ceil(1.5 * peak))
        best = self._fixed(high)
        while low < high:
            middle = (low + high) // 2
            outcome = self._fixed(middle)
            if outcome.failed <= PERFECT:
                high, best = middle, outcome
            else:
                low = middle + 1
        return high, best

    def _fixed(self, pods: int) -> SimulationResult:
        fixed = replace(self.behavior, min_replicas=pods, max_replicas=max(pods, self.behavior.max_replicas))
        return replay(self.trace, self.curve, Scaler("fixed", 1.0, fixed), self.seed, self.around)


def compare(
    case: Case, metrics: Iterable[Metric], targets: Mapping[Metric, float], say: Callable[[str], None]
) -> dict[str, SimulationResult]:
    """The result of each metric, by its name and target.

    Args:
        case: The setting.
        metrics: The scaling metrics.
        targets: Targets that differ from the defaults.
        say: Called with a description of the current simulation.
    """
    found = {}
    for metric in metrics:
        say(metric)
        if metric == "fixed":
            pods, outcome = case.perfect()
            found[f"fixed {pods}"] = outcome
        else:
            target = targets.get(metric, TARGETS[metric])
            found[f"{metric} {target:g}"] = case.run(metric, target)
    return found
