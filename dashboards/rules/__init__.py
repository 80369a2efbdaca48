"""Recording and alerting rules of Prometheus, one module a group."""

from dashboards.rules import budgets, capacity, models, processes, quality
from dashboards.rules.rule import Group


def groups() -> list[Group]:
    """Every group."""
    return [budgets.group(), capacity.group(), models.group(), processes.group(), quality.group()]
