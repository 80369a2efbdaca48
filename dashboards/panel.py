"""Panels of a dashboard, each with a title, a description and a unit."""

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from grafana_foundation_sdk.builders import common as looks
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, Threshold, ThresholdsMode

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
Limits = tuple[float, float]
"""The thresholds of a value: warning and critical. Critical may be the lower of the two."""


def lines(
    title: str,
    about: str,
    unit: str,
    queries: Mapping[str, str],
    *,
    limits: Limits | None = None,
    exemplars: bool = False,
    stacked: bool = False,
    width: int = 8,
) -> timeseries.Panel:
    """A panel of values over time.

    Args:
        title: What the panel shows.
        about: How to read it and what to do about it, in a sentence or two.
        unit: The unit by Grafana's name.
        queries: PromQL expressions by their legend.
        limits: Thresholds, drawn as dashed lines.
        exemplars: Whether to mark single requests, each with a link to its trace.
        stacked: Whether the lines are stacked.
        width: The width of the panel, of 24 columns.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .span(width)
        .height(8)
        .min(0)
        .datasource(SOURCE)
        .targets(_targets(queries, instant=False, exemplars=exemplars))
        .legend(looks.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM))
        .tooltip(looks.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
        .fill_opacity(25 if stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .stacking(looks.StackingConfig().mode(common.StackingMode.NORMAL if stacked else common.StackingMode.NONE))
    )
    if limits:
        dashed = looks.GraphThresholdsStyleConfig().mode(common.GraphTresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(limits)).thresholds_style(dashed)
    if exemplars:
        panel.links([_traces()])
    return panel


def number(
    title: str, about: str, unit: str, query: str, *, limits: Limits | None = None, legend: str = "", width: int = 4
) -> stat.Panel:
    """A panel of the current value of each series, coloured by its thresholds."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .unit(unit)
        .span(width)
        .height(4)
        .datasource(SOURCE)
        .targets(_targets({legend: query}, instant=True, exemplars=False))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .reduce_options(looks.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    return panel.thresholds(_thresholds(limits)) if limits else panel


def _targets(queries: Mapping[str, str], *, instant: bool, exemplars: bool) -> list[Builder[Dataquery]]:
    targets: list[Builder[Dataquery]] = []
    for letter, (legend, expr) in zip("ABCDEFGH", queries.items(), strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(expr).legend_format(legend).exemplar(exemplars)
        targets.append(target.instant() if instant else target.range())
    return targets


def _thresholds(limits: Limits) -> dashboard.ThresholdsConfig:
    warning, critical = limits
    rising = [Threshold(None, "green"), Threshold(warning, "orange"), Threshold(critical, "red")]
    falling = [Threshold(None, "red"), Threshold(critical, "orange"), Threshold(warning, "green")]
    steps: Sequence[Threshold] = rising if critical >= warning else falling
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps))


def _traces() -> dashboard.DashboardLink:
    """A link to the slow traces of the same time range, in the data source of the variable `traces`."""
    query = {"refId": "A", "queryType": "traceql", "query": '{resource.service.name=~"polyphony-.*" && duration>1s}'}
    left = {
        "datasource": "${traces}",
        "queries": [query],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    link = dashboard.DashboardLink("Slow traces").type(DashboardLinkType.LINK)
    return link.url(f"/explore?left={quote(json.dumps(left), safe='${}')}").target_blank(True)
