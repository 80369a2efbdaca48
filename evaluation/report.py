"""What a replay found, for people and as data."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from evaluation.replay import RIGHT, CanaryResult

Baseline = Mapping[str, Mapping[str, float]]


def table(results: Sequence[CanaryResult], baseline: Baseline) -> Table:
    """A row a metric; beside the baseline's value, where there is one, how much better or worse."""
    numbers = [Column(name, justify="right") for name in ("value", "baseline", "items", "failed", "seconds")]
    rows = Table("metric", "task", *numbers, box=None)
    for result in results:
        about = str(result.items), str(len(result.failures)), f"{result.seconds:.1f}"
        for metric, value in result.quality.items():
            was = baseline.get(result.task, {}).get(metric)
            rows.add_row(metric, result.task, f"{value:.3f}", _compared(metric, value, was), *about)
        if not result.quality:
            rows.add_row("none", result.task, "", "", *about)
    return rows


def details(results: Sequence[CanaryResult]) -> list[str]:
    """A line for each answer that is not quite right, and for each that did not come."""
    lines = []
    for result in results:
        for miss in result.misses:
            lines += [f"{result.task} {miss.item.label}", f"  expected  {_line(miss.item.expected)}"]
            lines += [f"  answered  {_line(miss.answer)}"]
        lines += [f"{result.task} {failure.item.label}\n  failed    {failure.reason}" for failure in result.failures]
    return [escape(line) for line in lines]


def as_json(results: Sequence[CanaryResult]) -> dict[str, Any]:
    """The same as data; a baseline is such a file."""
    return {
        result.task: {
            "quality": {metric: round(value, 4) for metric, value in result.quality.items()},
            "items": result.items,
            "failures": len(result.failures),
            "seconds": round(result.seconds, 2),
        }
        for result in results
    }


def baseline(data: Any) -> Baseline:
    """The values of an earlier replay, from what `as_json` gave.

    Raises:
        ValueError: It is something else.
    """
    try:
        return {task: {metric: float(value) for metric, value in row["quality"].items()} for task, row in data.items()}
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError("it is not what `polyphony canary --json` prints") from error


def _compared(metric: str, value: float, was: float | None) -> str:
    if was is None:
        return ""
    change = value - was
    worse = abs(value - RIGHT[metric]) > abs(was - RIGHT[metric]) + 0.0005
    return f"{was:.3f} [{'red' if worse else 'default'}]{change:+.3f}[/]"


def _line(text: str) -> str:
    return " / ".join(text.strip().splitlines())
