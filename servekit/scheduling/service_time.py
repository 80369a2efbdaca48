"""What an engine's time costs when it is full, told from when it is not."""

FORGETTING = 0.02  # what a new run weighs: the last fifty or so count
LEAST_VARIATION = 0.01  # of what they are told by, as a variance over the squared mean, from which a line can be told


class FullPrice:
    """Seconds a cost of a full engine, from a straight line through the runs so far.

    Least squares of the relative errors: the time of a small run is noise, and told as a price a great deal of it. Old
    runs fade.

    Seconds as they are seen mislead an autoscaler. A batch engine takes whatever waits: at a fraction of what it can
    do it is busy all the time, with half-empty runs. Slots that share an engine are quick while they are few: they
    seem to have room for more than it can do.

    Args:
        full: What a run of a full engine is told by: the reciprocal of a full batch's cost, or how many slots run.
    """

    def __init__(self, full: float) -> None:
        self._full = full
        self._weight = self._told = self._seconds = self._squares = self._products = 0.0

    def learn(self, told: float, seconds_per_cost: float) -> None:
        """Take a run into account, by what it is told by; both are more than nothing."""
        keep, weight = 1 - FORGETTING, 1 / (seconds_per_cost * seconds_per_cost)
        self._weight = self._weight * keep + weight
        self._told = self._told * keep + weight * told
        self._seconds = self._seconds * keep + weight * seconds_per_cost
        self._squares = self._squares * keep + weight * told * told
        self._products = self._products * keep + weight * told * seconds_per_cost

    @property
    def seconds_per_cost(self) -> float:
        """In a full engine; as in the runs so far where they are alike; 0 where nothing is known yet."""
        if not self._weight:
            return 0.0
        told, seconds = self._told / self._weight, self._seconds / self._weight
        variance = self._squares / self._weight - told * told
        if variance < LEAST_VARIATION * told * told:
            return seconds
        slope = (self._products / self._weight - told * seconds) / variance
        slope = min(max(slope, 0.0), seconds / told)  # neither part of a price is less than nothing
        return seconds + slope * (self._full - told)
