"""Rules of Prometheus and the YAML from which it loads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

RUNBOOK = "how-to/runbook.md"
"""The runbook's page within `docs/`. The chart prepends the base URL, which depends on the deployment."""


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The rule as a mapping of Prometheus's rule file."""
        return {"record": self.name, "expr": _Expr(self.expr), **({"labels": {**self.labels}} if self.labels else {})}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule.

    Attributes:
        name: The name without the prefix `Polyphony`.
        severity: `critical` pages someone; `warning` is read during working hours.
        expr: PromQL that returns a series while the condition holds.
        lasting: How long the condition must hold before the alert fires, such as `5m`.
        summary: One line with the labels in it.
        description: The effect on callers; the runbook says what to do.
    """

    name: str
    severity: Literal["critical", "warning"]
    expr: str
    lasting: str
    summary: str
    description: str

    @property
    def title(self) -> str:
        """The name in Prometheus, and the heading in the runbook."""
        return f"Polyphony{self.name}"

    def row(self) -> dict[str, Any]:
        """The rule as a mapping of Prometheus's rule file."""
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
    """A rule group, written as one file.

    Attributes:
        name: The name of the file.
        rules: The rules in order: a recording rule stands before the rules that read it.
    """

    name: str
    rules: Sequence[Record | Alert]

    @property
    def alerts(self) -> list[Alert]:
        """The alerting rules of the group."""
        return [rule for rule in self.rules if isinstance(rule, Alert)]

    def yaml(self) -> str:
        """The text of the file."""
        group = {"name": f"polyphony-{self.name}", "rules": [rule.row() for rule in self.rules]}
        return yaml.dump({"groups": [group]}, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Expr(str):
    """PromQL that YAML writes as a block where it has several lines."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes multi-line PromQL as a block."""


def _represent(dumper: _Dumper, expr: _Expr) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(expr), style="|" if "\n" in expr else None)


_Dumper.add_representer(_Expr, _represent)
