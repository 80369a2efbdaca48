"""The dashboard of objectives and their error budgets."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.objectives import BUDGET_DAYS
from dashboards.panel import lines, number
from dashboards.rules.budgets import BAD, BURN, OBJECTIVE, REMAINING, REQUESTS

LEGEND = {"availability": "{{job}}", "latency": "{{route}}"}
ABOUT = {
    "availability": "the share of admitted requests that succeed",
    "latency": "the share of the gateway's requests that end within the bound of their route",
}


def made() -> Dashboard:
    """The dashboard."""
    rows = {
        slo.capitalize(): [
            number("Objective", f"The objective: {ABOUT[slo]}.", "percentunit", f'{OBJECTIVE}{{slo="{slo}"}}',
                   legend=legend, width=6),
            number("Measured, 1 h", "The same share in the last hour.", "percentunit",
                   f'1 - {BURN}1h{{slo="{slo}"}} * (1 - {OBJECTIVE})', legend=legend, width=6),
            number("Error budget remaining", f"Of {BUDGET_DAYS} days. Below 0 the objective is missed: stop risky "
                   "releases and fix what spends the budget.", "percentunit",
                   f'{REMAINING}{{slo="{slo}"}}', legend=legend, limits=(0.5, 0.1), width=12),
            lines("Burn rate, 1 h", "At 1 the budget lasts exactly its period; the fast alert fires near 13.", "short",
                  {legend: f'{BURN}1h{{slo="{slo}"}}'}, limits=(1, 13)),
            lines("Burn rate, 6 h", "A slow leak shows here first.", "short", {legend: f'{BURN}6h{{slo="{slo}"}}'},
                  limits=(1, 5.6)),
            lines("Bad requests", "Requests a second that spend the budget, beside all requests.", "reqps",
                  {legend: f'{BAD}{{slo="{slo}"}}', f"{legend} all": f'{REQUESTS}{{slo="{slo}"}}'}),
        ]
        for slo, legend in LEGEND.items()
    }  # fmt: skip
    return board(
        "budgets",
        "Error budgets",
        "Objectives, measured values, and how fast the error budgets are spent.",
        rows,
    )
