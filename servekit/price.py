"""What a batch engine's time costs when its runs are full, told from runs that are not."""

FORGETTING = 0.02  # what a new run weighs: the last fifty or so count
LEAST_VARIATION = 0.01  # of the runs' costs, as a variance over the squared mean, from which a line can be told


class FullPrice:
    """Seconds a cost in a full run, from a straight line through the runs so far (least squares, old ones forgotten).

    An engine that takes whatever waits is never idle for long and rarely full: its half-empty runs say that
    it is at its end when it could still do several times as much.

    Args:
        full: The cost of a full run.
    """

    def __init__(self, full: float) -> None:
        self._full = full
        self._weight = self._cost = self._seconds = self._squares = self._products = 0.0

    def learn(self, cost: float, seconds: float) -> None:
        """Take a run into account."""
        keep = 1 - FORGETTING
        self._weight = self._weight * keep + 1
        self._cost = self._cost * keep + cost
        self._seconds = self._seconds * keep + seconds
        self._squares = self._squares * keep + cost * cost
        self._products = self._products * keep + cost * seconds

    @property
    def seconds_per_cost(self) -> float:
        """In a full run; as in the runs so far where they are alike; 0 where nothing is known yet."""
        if not self._cost:
            return 0.0
        cost, seconds = self._cost / self._weight, self._seconds / self._weight
        variance = self._squares / self._weight - cost * cost
        if cost >= self._full or variance < LEAST_VARIATION * cost * cost:
            return seconds / cost
        slope = (self._products / self._weight - cost * seconds) / variance
        slope = min(max(slope, 0.0), seconds / cost)  # a run takes no less than nothing, and more for more
        return slope + (seconds - slope * cost) / self._full
