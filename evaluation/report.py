"""Reports of a canary run, as a table and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Column, Table

from evaluation.replay import RIGHT, CanaryResult

Baseline = Mapping[str, Mapping[str, float]]


def table(results: Sequence[CanaryResult], baseline: Baseline) -> Table:
    """A table with one row for each metric, with the baseline's value and the change."""
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
    """Lines about each answer that is not fully correct and each failed item."""
    lines = []
    for result in results:
        for miss in result.misses:
            lines += [f"{result.task} {miss.item.label}", f"  expected  {_line(miss.item.expected)}"]
            lines += [f"  answered  {_line(miss.answer)}"]
        lines += [f"{result.task} {failure.item.label}\n  failed    {failure.reason}" for failure in result.failures]
    return [escape(line) for line in lines]


def as_json(results: Sequence[CanaryResult]) -> dict[str, Any]:
    """The results as JSON values; a baseline is such a file."""
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
    """Parse the values of an earlier run from the output of `as_json`.

    Raises:
        ValueError: The data has another form.
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
