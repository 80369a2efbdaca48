"""Objectives and what is left of their error budgets."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.objectives import BUDGET_DAYS
from dashboards.panel import lines, number
from dashboards.rules.budgets import BAD, BURN, CALLS, LEFT, OBJECTIVE

LEGEND = {"availability": "{{job}}", "latency": "{{route}}"}
ABOUT = {
    "availability": "of the calls that were let in, those that were answered",
    "latency": "of the gateway's calls, those that were answered within the bound of their route",
}


def made() -> Dashboard:
    """The dashboard."""
    rows = {
        slo.capitalize(): [
            number("Promised", f"The objective: {ABOUT[slo]}.", "percentunit", f'{OBJECTIVE}{{slo="{slo}"}}',
                   legend=legend, width=6),
            number("Kept, 1 h", "The same share in the last hour.", "percentunit",
                   f'1 - {BURN}1h{{slo="{slo}"}} * (1 - {OBJECTIVE})', legend=legend, width=6),
            number("Budget left", f"Of {BUDGET_DAYS} days. Below 0 the promise is broken: stop risky releases and work "
                   "on what spends it.", "percentunit", f'{LEFT}{{slo="{slo}"}}', legend=legend, limits=(0.5, 0.1),
                   width=12),
            lines("Burn rate, 1 h", "1 spends the budget in exactly its period; the fast alert comes near 13.", "short",
                  {legend: f'{BURN}1h{{slo="{slo}"}}'}, limits=(1, 13)),
            lines("Burn rate, 6 h", "A slow leak shows here first.", "short", {legend: f'{BURN}6h{{slo="{slo}"}}'},
                  limits=(1, 5.6)),
            lines("Bad calls", "What spends the budget, a second; compare with all calls.", "reqps",
                  {legend: f'{BAD}{{slo="{slo}"}}', f"{legend} all": f'{CALLS}{{slo="{slo}"}}'}),
        ]
        for slo, legend in LEGEND.items()
    }  # fmt: skip
    return board(
        "budgets",
        "Error budgets",
        "What is promised, what was kept, and how fast the budget is spent.",
        rows,
    )
