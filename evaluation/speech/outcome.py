"""What an evaluation found: tables, and the items that went worst, for people, as data and as Markdown."""

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
    """Rows of figures, each with a name; `note` says what they are."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    note: str = ""


@dataclass(frozen=True)
class ReviewedAnswer:
    """One item worth a look: how bad it is, what was right, what came."""

    item: str
    badness: float
    expected: str
    answered: str


@dataclass(frozen=True)
class FailedClip:
    """An item that had no answer, and why."""

    item: str
    reason: str


@dataclass(frozen=True)
class TaskResult:
    """What one task found.

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
        """The worst items, worst first."""
        return sorted(self.looks, key=lambda look: -look.badness)[:WORST]


def tables(outcome: TaskResult) -> list[RichTable]:
    """For a terminal."""
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
    """A few lines for each of the worst items, and one for each without an answer."""
    lines = []
    for look in outcome.worst:
        lines += [f"{outcome.task} {look.item}", f"  expected  {look.expected}", f"  answered  {look.answered}"]
    lines += [f"{outcome.task} {failure.item}\n  failed    {failure.reason}" for failure in outcome.failures]
    return [escape(line) for line in lines]


def as_json(outcomes: Sequence[TaskResult]) -> dict[str, Any]:
    """The same as data."""
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
