"""Load traces: requests per second over hours, reproducible by seed."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from capacity.errors import CapacityError

HOUR = 3600
MAX_HOURS = 48
MAX_RATE = 1_000_000  # calls a second


@dataclass(frozen=True, slots=True)
class LoadTrace:
    """A load over time.

    Attributes:
        name: The name.
        rates: Requests per second, one entry a second, shape (seconds,), float64.
    """

    name: str
    rates: NDArray[np.float64]

    @property
    def seconds(self) -> int:
        """The duration in seconds."""
        return len(self.rates)

    def arrivals(self, seed: int) -> NDArray[np.float64]:
        """Arrival times in seconds, sorted, shape (calls,): a Poisson process with these rates."""
        random = np.random.default_rng(seed)
        counts = random.poisson(self.rates)
        return np.sort(np.repeat(np.arange(self.seconds), counts) + random.random(int(counts.sum())))


def steady(hours: float, seed: int) -> NDArray[np.float64]:  # noqa: ARG001
    """A constant load."""
    return np.ones(round(hours * HOUR))


def diurnal(hours: float, seed: int) -> NDArray[np.float64]:
    """A day compressed into these hours: 0.25 to 1.75 of the mean, with noise over minutes."""
    time = np.arange(round(hours * HOUR))
    noise = np.random.default_rng(seed).normal(0, 0.1, len(time) // 60 + 1)
    return np.asarray((1 - 0.75 * np.cos(2 * np.pi * time / len(time))) * np.exp(noise[time // 60]))


def burst(hours: float, seed: int) -> NDArray[np.float64]:
    """Random bursts of two to four times the load for two to eight minutes, rising within 20 s."""
    time = np.arange(round(hours * HOUR), dtype=float)
    random = np.random.default_rng(seed)
    rates = np.ones(len(time))
    begin = random.uniform(300, 900)
    while begin < len(time):
        length, height = random.uniform(120, 480), random.uniform(1, 3)
        rise, fall = (time - begin) / 20, (begin + length - time) / 60
        rates += height * np.clip(np.minimum(rise, fall), 0, 1)
        begin += length + random.uniform(300, 1200)
    return rates


def flash_crowd(hours: float, seed: int) -> NDArray[np.float64]:
    """A rise to eight times the load within a minute, after a third of the time, then halving every ten minutes."""
    time = np.arange(round(hours * HOUR), dtype=float)
    noise = np.random.default_rng(seed).normal(0, 0.05, len(time) // 60 + 1)
    since = time - len(time) / 3
    crowd = np.where(since < 0, 0.0, np.minimum(since / 60, 0.5 ** ((since - 60) / 600)))
    return np.asarray((1 + 7 * np.clip(crowd, 0, 1)) * np.exp(noise[time.astype(int) // 60]))


SHAPES: Mapping[str, Callable[[float, int], NDArray[np.float64]]] = {
    "steady": steady,
    "diurnal": diurnal,
    "burst": burst,
    "flash-crowd": flash_crowd,
}


def trace(name: str, rate: float, hours: float, seed: int) -> LoadTrace:
    """One of `SHAPES`, or a CSV file.

    Args:
        name: The shape, or a path that ends in `.csv`: columns `seconds` and `rate` with a head, times that grow;
            a rate holds until the next row, and the last row ends the trace.
        rate: The mean requests per second of a shape; a file has its own rates.
        hours: The duration of a shape.
        seed: The random seed.

    Raises:
        CapacityError: There is no such shape, or the file is not what it has to be.
    """
    if name.endswith(".csv"):
        return _read(Path(name))
    if name not in SHAPES:
        raise CapacityError(f"unknown trace {name!r}; known traces: {', '.join(SHAPES)}, or a .csv file")
    return LoadTrace(name, SHAPES[name](hours, seed) * rate)


def _read(path: Path) -> LoadTrace:
    try:
        with path.open(newline="") as file:
            rows = [(float(row["seconds"]), float(row["rate"])) for row in csv.DictReader(file)]
    except OSError as error:
        raise CapacityError(f"{path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise CapacityError(f"{path} must have the header `seconds,rate` and two numbers in each row") from error
    times = np.array([seconds for seconds, _ in rows])
    rates = np.array([rate for _, rate in rows])
    if len(rows) < 2 or not np.isfinite([*times, *rates]).all() or (np.diff(times) <= 0).any() or (rates < 0).any():
        raise CapacityError(f"{path} must have at least two rows, increasing times, and rates of at least 0")
    if times[-1] - times[0] > MAX_HOURS * HOUR or rates.max() > MAX_RATE:
        raise CapacityError(f"{path} must have at most {MAX_HOURS} hours and {MAX_RATE:,} requests per second")
    seconds = np.arange(round(times[-1] - times[0])) + times[0]
    return LoadTrace(path.stem, rates[np.searchsorted(times, seconds, side="right") - 1])
