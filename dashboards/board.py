"""A dashboard: rows of panels with a stable uid."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Panel,
    VariableRefresh,
)

Rows = Mapping[str, Sequence[Builder[Panel]]]


def board(name: str, title: str, about: str, rows: Rows, *, choose: Mapping[str, str] | None = None) -> Dashboard:
    """Build a dashboard from rows of panels.

    Args:
        name: The name of the file; the uid is `polyphony-<name>`. It is stable.
        title: The title in the list of dashboards.
        about: The description.
        rows: Panels by the title of their row.
        choose: Variables that the operator selects, each with the PromQL query of its values.
    """
    made = (
        dashboard.Dashboard(f"Polyphony / {title}")
        .uid(f"polyphony-{name}")
        .description(about)
        .tags(["polyphony"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_neighbours())
        .with_variable(dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus"))
        .with_variable(dashboard.DatasourceVariable("traces").label("Traces").type("tempo"))
    )
    for variable, values in (choose or {}).items():
        made.with_variable(
            dashboard.QueryVariable(variable)
            .label(variable.capitalize())
            .query(values)
            .datasource(DataSourceRef(type_val="prometheus", uid="${datasource}"))
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    for row, panels in rows.items():
        made.with_row(dashboard.Row(row))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    for number, item in enumerate(built.panels or [], 1):
        item.id_val = number
    return built


def _neighbours() -> dashboard.DashboardLink:
    """A menu of the other dashboards, which keeps the time range."""
    link = dashboard.DashboardLink("Polyphony").type(DashboardLinkType.DASHBOARDS).tags(["polyphony"])
    return link.as_dropdown(True).keep_time(True)
