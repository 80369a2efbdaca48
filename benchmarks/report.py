"""The result of a benchmark, and its tables."""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from rich.table import Table

Progress = Callable[[str], None]  # called with a description of the current part of a benchmark

_HOLDS = {"at least": operator.ge, "at most": operator.le}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A measured value and its target.

    Attributes:
        what: The name of the value.
        value: The measured value.
        bound: `at least` or `at most`.
        target: The target.
        unit: The unit of value and target; `x` for a ratio.
    """

    what: str
    value: float
    bound: str
    target: float
    unit: str = "x"

    @property
    def holds(self) -> bool:
        """Whether the value meets its target."""
        return bool(_HOLDS[self.bound](self.value, self.target))


@dataclass(frozen=True, slots=True)
class BenchmarkResult:
    """The result of one benchmark.

    Attributes:
        title: What was measured.
        rows: The values by row and column; rows may have different columns.
        verdicts: The values that have a target.
    """

    title: str
    rows: Mapping[str, Mapping[str, float]]
    verdicts: Sequence[Verdict] = ()

    def table(self) -> Table:
        """The rows as a table for the terminal."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row))
        table = Table(title=self.title, title_justify="left", title_style="bold", box=None)
        table.add_column("")
        for column in columns:
            table.add_column(column, justify="right")
        for name, row in self.rows.items():
            table.add_row(name, *(_cell(row.get(column)) for column in columns))
        return table


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """A table of the targets, each with whether it is met."""
    table = Table(title="Targets", title_justify="left", title_style="bold", box=None)
    for name in ("", "measured", "target", ""):
        table.add_column(name, justify="left" if not name else "right")
    for verdict in verdicts:
        met = "[green]met[/]" if verdict.holds else "[red]missed[/]"
        wanted = f"{verdict.bound} {verdict.target:g} {verdict.unit}"
        table.add_row(verdict.what, f"{_cell(verdict.value)} {verdict.unit}", wanted, met)
    return table


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile of the values at `share`, 0 to 1; 0 if there are no values."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
