"""A plot of simulations: load and capacity, pods, latency, and failed requests."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from capacity.simulation.comparison import Case
from capacity.simulation.outcome import RequestOutcome, SimulationResult

COLOURS = {"offered-load": "#0072b2", "cpu": "#d55e00", "busy": "#cc79a7", "queue": "#009e73", "fixed": "#8a8a8a"}
INK, PALE = "#333333", "#e3e8ee"
WINDOW = 30  # seconds of one point


def draw(title: str, case: Case, found: Mapping[str, SimulationResult], path: Path) -> None:
    """Plot every result; the suffix of the path selects the format."""
    with rc_context({"font.size": 9, "svg.hashsalt": "polyphony"}):
        _draw(title, case, found, path)


def _draw(title: str, case: Case, found: Mapping[str, SimulationResult], path: Path) -> None:
    figure = Figure(figsize=(8.6, 8.4), layout="constrained")
    load, pods, latency, failed = figure.subplots(4, sharex=True, height_ratios=(3, 2, 2, 2))
    minutes = np.arange(0, case.trace.seconds, WINDOW) / 60
    rates = _means(case.trace.rates)
    load.fill_between(minutes, rates / case.curve.rate, color=PALE, label="calls, in pods that they would fill")
    for name, outcome in found.items():
        colour = COLOURS[name.partition(" ")[0]]
        ours = name.startswith("offered-load")
        line = {"color": colour, "linewidth": 2.0 if ours else 1.1, "zorder": 3 if ours else 2}
        times = [moment.seconds / 60 for moment in outcome.snapshots]
        load.step(times, [moment.ready for moment in outcome.snapshots], where="post", label=f"ready, {name}", **line)
        pods.step(times, [moment.pods for moment in outcome.snapshots], where="post", **line)
        p95, misses = _by_window(outcome, case.trace.seconds)
        latency.plot(minutes, p95, **line)
        failed.plot(minutes, 100 * misses, **line)
    latency.axhline(case.curve.deadline_seconds, color=INK, linewidth=0.8, linestyle=":")
    latency.annotate(
        "deadline", (1, case.curve.deadline_seconds), (-4, -3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", va="top", color=INK, fontsize=8,
    )  # fmt: skip
    latency.set_yscale("log")
    latency.minorticks_off()
    _finish(load, "load and ready pods")
    _finish(pods, "pods, with those that start")
    _finish(latency, "p95 of answers, s")
    _finish(failed, "without an answer, %")
    failed.set_xlabel("minutes")
    failed.set_xlim(0, case.trace.seconds / 60)
    handles, labels = load.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=3, frameon=False, labelcolor=INK,
        title=title, alignment="left", title_fontproperties={"size": 12, "weight": "bold"},
    )  # fmt: skip
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _finish(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=9, color=INK)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)


def _means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each window, shape (windows,)."""
    starts = np.arange(0, len(values), WINDOW)
    return np.add.reduceat(values, starts) / np.diff([*starts, len(values)])


def _by_window(outcome: SimulationResult, seconds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The p95 latency in seconds and the share of failed requests by window of arrival; NaN without requests."""
    edges = np.arange(0, seconds, WINDOW)
    bounds = [*np.searchsorted(outcome.arrivals, edges), len(outcome.arrivals)]
    p95, misses = np.full(len(edges), np.nan), np.full(len(edges), np.nan)
    for window, (first, last) in enumerate(pairwise(bounds)):
        outcomes = outcome.outcomes[first:last]
        good = outcome.latencies[first:last][outcomes == RequestOutcome.ANSWERED]
        if len(good):
            p95[window] = np.quantile(good, 0.95)
        if len(outcomes):
            misses[window] = np.mean(outcomes != RequestOutcome.ANSWERED)
    return p95, misses
