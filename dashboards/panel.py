"""One panel in one call: what it shows, what to do about it, and its unit."""

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
"""Where a value becomes worth a look, and where it is bad. Bad may be the lower of the two."""


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
    """Values over time.

    Args:
        title: What it shows.
        about: What to make of it and what to do, in a sentence or two.
        unit: Grafana's name of the unit.
        queries: PromQL by the legend of its lines.
        limits: Drawn as dashed lines.
        exemplars: Whether to mark single requests, each with the way to its trace.
        stacked: Whether the values add up.
        width: Of 24.
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
    """The value now, one a series, coloured by its limits."""
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
    look, bad = limits
    rising = [Threshold(None, "green"), Threshold(look, "orange"), Threshold(bad, "red")]
    falling = [Threshold(None, "red"), Threshold(bad, "orange"), Threshold(look, "green")]
    steps: Sequence[Threshold] = rising if bad >= look else falling
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(steps))


def _traces() -> dashboard.DashboardLink:
    """To the slow traces of the same time, in the data source that the board's `traces` names."""
    query = {"refId": "A", "queryType": "traceql", "query": '{resource.service.name=~"polyphony-.*" && duration>1s}'}
    left = {
        "datasource": "${traces}",
        "queries": [query],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    link = dashboard.DashboardLink("Slow traces").type(DashboardLinkType.LINK)
    return link.url(f"/explore?left={quote(json.dumps(left), safe='${}')}").target_blank(True)
