"""Results of an evaluation: tables and the worst answers, for terminals, as JSON and as Markdown."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Column
from rich.table import Table as RichTable

Cell = str | int | float | None
WORST = 8


@dataclass(frozen=True)
class MetricTable:
    """A table of metrics with named rows and a note."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""


@dataclass(frozen=True)
class ReviewedAnswer:
    """An answer for review: its error, the expected and the actual answer."""

    item: str
    badness: float
    expected: str
    answered: str


@dataclass(frozen=True)
class FailedClip:
    """A clip without an answer, and the reason."""

    item: str
    reason: str


@dataclass(frozen=True)
class TaskResult:
    """The result of one task.

    Attributes:
        task: Its name.
        tables: Its figures.
        looks: Items that are not right, in any order.
        failures: Items without an answer.
        seconds: How long it took.
    """

    task: str
    tables: Sequence[MetricTable]
    looks: Sequence[ReviewedAnswer]
    failures: Sequence[FailedClip]
    seconds: float

    @property
    def worst(self) -> list[ReviewedAnswer]:
        """The worst answers, worst first."""
        return sorted(self.looks, key=lambda look: -look.badness)[:WORST]


def tables(outcome: TaskResult) -> list[RichTable]:
    """The tables for a terminal."""
    drawn = []
    for table in outcome.tables:
        first, *numbers = table.columns
        columns = Column(first), *(Column(name, justify="right") for name in numbers)
        rich = RichTable(*columns, title=table.title, caption=table.note or None, box=None, title_justify="left")
        for row in table.rows:
            rich.add_row(*(escape(_said(cell)) for cell in row))
        drawn.append(rich)
    return drawn


def details(outcome: TaskResult) -> list[str]:
    """Lines about the worst answers and about each failed clip."""
    lines = []
    for look in outcome.worst:
        lines += [f"{outcome.task} {look.item}", f"  expected  {look.expected}", f"  answered  {look.answered}"]
    lines += [f"{outcome.task} {failure.item}\n  failed    {failure.reason}" for failure in outcome.failures]
    return [escape(line) for line in lines]


def as_json(outcomes: Sequence[TaskResult]) -> dict[str, Any]:
    """The results as JSON values."""
    return {
        outcome.task: {
            "tables": [asdict(table) for table in outcome.tables],
            "worst": [asdict(look) for look in outcome.worst],
            "failures": [asdict(failure) for failure in outcome.failures],
            "seconds": round(outcome.seconds, 1),
        }
        for outcome in outcomes
    }


def as_markdown(data: dict[str, Any], preface: str) -> str:
    """Format the output of `as_json` as tables of docs/explanation/measurements/speech-accuracy.md, below `preface`."""
    lines = [preface, ""]
    for found in data.values():
        for table in found["tables"]:
            lines += [f"### {table['title']}", "", _row(table["columns"])]
            lines.append(_row(["---"] + ["--:"] * (len(table["columns"]) - 1)))
            lines += [_row([_said(cell) for cell in row]) for row in table["rows"]]
            lines += ["", *([table["note"], ""] if table["note"] else [])]
        if count := len(found["failures"]):
            lines += [f"{count} without an answer: {found['failures'][0]['reason']}", ""]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _said(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)
