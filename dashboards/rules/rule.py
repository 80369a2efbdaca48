"""Rules of Prometheus, and the YAML they are loaded from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

RUNBOOK = "runbook.md"
"""The page within `docs/`; where those lie, only a deployment knows. The chart writes its base before each of these."""


@dataclass(frozen=True, slots=True)
class Record:
    """A value that is worked out ahead, under a name of its own."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {"record": self.name, "expr": _Expr(self.expr), **({"labels": {**self.labels}} if self.labels else {})}


@dataclass(frozen=True, slots=True)
class Alert:
    """A state that someone has to know of.

    Attributes:
        name: Without `Polyphony`, which all of them begin with.
        severity: `critical` wakes someone; `warning` is read in the morning.
        expr: Something that gives a series while the state lasts.
        lasting: How long it has to last, such as `5m`.
        summary: One line, with the labels in it.
        description: What it means for callers; the runbook says what to do.
    """

    name: str
    severity: Literal["critical", "warning"]
    expr: str
    lasting: str
    summary: str
    description: str

    @property
    def title(self) -> str:
        """The name as Prometheus has it and as the runbook's heading."""
        return f"Polyphony{self.name}"

    def row(self) -> dict[str, Any]:
        """The rule as Prometheus reads it."""
        return {
            "alert": self.title,
            "expr": _Expr(self.expr),
            "for": self.lasting,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{RUNBOOK}#{self.title.lower()}",
            },
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are worked out together; a file.

    Attributes:
        name: Of the file.
        rules: In their order: a record before what reads it.
    """

    name: str
    rules: Sequence[Record | Alert]

    @property
    def alerts(self) -> list[Alert]:
        """Those of the rules that are alerts."""
        return [rule for rule in self.rules if isinstance(rule, Alert)]

    def yaml(self) -> str:
        """The file."""
        group = {"name": f"polyphony-{self.name}", "rules": [rule.row() for rule in self.rules]}
        return yaml.dump({"groups": [group]}, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Expr(str):
    """PromQL, written over several lines where it has several."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes PromQL as people would."""


def _represent(dumper: _Dumper, expr: _Expr) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(expr), style="|" if "\n" in expr else None)


_Dumper.add_representer(_Expr, _represent)
