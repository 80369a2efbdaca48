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

PERFECT = 0.01  # of all calls may fail where the size is called perfect
MOST_CALLS = 60_000  # that are worth simulating one by one
COARSE_SECONDS = 0.25  # that one call may take alone where it stands for many
LEAST_TOGETHER = 4  # calls that a full pod still works at where one stands for many


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
        """The same where one call stands for several, if there are too many to simulate one by one; and how many."""
        curve = self.curve
        room = curve.batch if curve.kind == "batch" else curve.engines
        wanted = self.trace.rates.sum() / MOST_CALLS
        fit = [calls for calls in range(1, room // LEAST_TOGETHER + 1) if room % calls == 0] or [1]
        beside = next((calls for calls in fit if calls >= wanted), fit[-1])
        behind = max(1, min(ceil(wanted / beside), int(COARSE_SECONDS / curve.seconds[0][1])))
        calls = beside * behind
        if calls == 1:
            return self, 1
        trace = replace(self.trace, rates=self.trace.rates / calls)
        return replace(self, trace=trace, curve=curve.grouped(beside).bundled(behind)), calls

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
        fixed = replace(self.behavior, least=pods, most=max(pods, self.behavior.most))
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
