"""The dashboards, one module each."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.boards import budgets, fleet, gpu, pipelines, quality, scaling, service


def boards() -> dict[str, Dashboard]:
    """Every dashboard by the name of its file."""
    modules = (fleet, service, pipelines, scaling, gpu, budgets, quality)
    return {module.__name__.rpartition(".")[2]: module.made() for module in modules}
