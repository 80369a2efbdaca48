"""Service time: how long an engine takes for a cost, predicted from the runs it has made."""

import sys
from math import ceil

EMA_WEIGHT = 0.2  # weight of a new measurement in an exponential moving average
DECAY = 0.02  # weight of a new run in the regression: the last fifty or so count
MIN_VARIATION = 0.01  # least variance of the load, over its squared mean, that a slope is fitted to


class ExponentialMovingAverage:
    """A running average in which old values fade; its value is 0 until the first one.

    Args:
        value: The value to begin with; 0 takes the first measurement as it is.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def observe(self, measured: float) -> None:
        """Add a measurement."""
        known = self.value or measured
        self.value = known + EMA_WEIGHT * (measured - known)


class ServiceTimeModel:
    """Predicts seconds per cost, recently and at full load; seconds are those of one engine or one slot.

    The recent value is an exponential moving average: it answers how long a queue takes now. It misleads an autoscaler:
    a batch engine at a fraction of its capacity is always busy, with half-empty runs, and slots that share an engine
    are fast while few of them run. So the value at full load is read from a straight line through the runs, seconds
    per cost over load, fitted by least squares of the relative errors (the absolute error of a small run is mostly
    noise). Old runs fade.

    Args:
        full_load: The load of a full engine, in the unit of `observe`; None takes the recent value for the full one.
        max_batch_cost: The cost of a full batch; 0 where each item runs alone. None for slots, whose time follows
            their cost alone: a run of a batch model may take as long however full it is.
    """

    def __init__(self, full_load: float | None, max_batch_cost: float | None = None) -> None:
        self._full_load = full_load
        self._max_batch_cost = max_batch_cost
        self._recent = ExponentialMovingAverage()
        self._run = ExponentialMovingAverage()
        self._weight = self._load = self._seconds = self._load_squared = self._load_seconds = 0.0

    @classmethod
    def of_batches(cls, max_batch_cost: float) -> "ServiceTimeModel":
        """The model of engines that run batches; the load of a run is the reciprocal of its cost."""
        return cls(1 / max_batch_cost if max_batch_cost else None, max_batch_cost)

    @classmethod
    def of_slots(cls, slots: int) -> "ServiceTimeModel":
        """The model of slots that share an engine; the load of a run is how many slots were busy during it."""
        return cls(slots)

    def observe(self, load: float, seconds_per_cost: float) -> None:
        """Add a run: its load, and its seconds per cost; both must be positive."""
        self._recent.observe(seconds_per_cost)
        if self._max_batch_cost is not None:
            self._run.observe(seconds_per_cost / load)
        keep, weight = 1 - DECAY, 1 / (seconds_per_cost * seconds_per_cost)
        self._weight = self._weight * keep + weight
        self._load = self._load * keep + weight * load
        self._seconds = self._seconds * keep + weight * seconds_per_cost
        self._load_squared = self._load_squared * keep + weight * load * load
        self._load_seconds = self._load_seconds * keep + weight * load * seconds_per_cost

    @property
    def seconds_per_cost(self) -> float:
        """Recent seconds per cost, at the loads of recent runs; 0 before the first run."""
        return self._recent.value

    @property
    def seconds_per_run(self) -> float:
        """Recent seconds of one run of a batch; 0 before the first run, and for slots."""
        return self._run.value

    @property
    def full_seconds_per_cost(self) -> float:
        """Seconds per cost at full load; as in the runs so far where they are alike; 0 before the first run."""
        if self._full_load is None or not self._weight:
            return self.seconds_per_cost
        load, seconds = self._load / self._weight, self._seconds / self._weight
        variance = self._load_squared / self._weight - load * load
        if variance < MIN_VARIATION * load * load:
            return seconds
        slope = (self._load_seconds / self._weight - load * seconds) / variance
        slope = min(max(slope, 0.0), seconds / load)  # neither the slope nor the intercept is negative
        return seconds + slope * (self._full_load - load)

    def seconds(self, cost: float, runs: int = sys.maxsize) -> float:
        """Predict the seconds of a cost that takes at most `runs` runs."""
        seconds = cost * self.seconds_per_cost
        return seconds if self._max_batch_cost is None else min(seconds, runs * self.seconds_per_run)

    def backlog_seconds(self, cost: float, items: int = sys.maxsize) -> float:
        """Predict the seconds of a cost that is split over `items` items, in batches as full as possible."""
        # Where a run takes as long however full it is, the seconds per cost of half-empty runs predict too much.
        runs = ceil(cost / self._max_batch_cost) if self._max_batch_cost else items
        return self.seconds(cost, runs)
