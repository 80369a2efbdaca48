"""What the dashboards ask of Prometheus, read from the files that Grafana reads."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "polyphony"
BOARDS = sorted((CHART / "dashboards").glob("*.json"))
RULES = sorted((CHART / "rules").glob("*.yaml"))

_STRING = re.compile(r'"[^"]*"')
_LABELS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(by|on|without|ignoring|group_left|group_right) *\([^)]*\)")
_NAME = re.compile(r"(?<![\w:])[a-zA-Z_:][\w:]*(?! *\(|[\w:])")
_WORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "without", "sum", "max", "min", "count"}


@dataclass(frozen=True)
class Query:
    """One query of one panel."""

    board: str
    panel: str
    legend: str
    expr: str

    @property
    def labels(self) -> set[str]:
        """Those that its legend names."""
        return set(re.findall(r"\{\{(\w+)\}\}", self.legend))


def panels() -> Iterator[tuple[str, dict]]:
    """Every panel that shows something, with its board's name."""
    for path in BOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            if panel["type"] != "row":
                yield path.stem, panel


def queries() -> list[Query]:
    """Every query of every panel."""
    return [
        Query(board, panel["title"], target["legendFormat"], target["expr"])
        for board, panel in panels()
        for target in panel["targets"]
    ]


def metrics(expr: str) -> set[str]:
    """The names of the metrics that an expression reads."""
    return set(_NAME.findall(_LABELS.sub(" ", _STRING.sub('""', expr)))) - _WORDS
