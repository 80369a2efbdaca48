"""The dashboards, a file each."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.boards import budgets, compositions, fleet, gpu, quality, scaling, service


def boards() -> dict[str, Dashboard]:
    """Every dashboard by the name of its file."""
    modules = (fleet, service, compositions, scaling, gpu, budgets, quality)
    return {module.__name__.rpartition(".")[2]: module.made() for module in modules}
