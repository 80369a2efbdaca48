"""Error budgets, and multi-window, multi-burn-rate alerts on them.

The method is that of The Site Reliability Workbook, chapter 5: the long window shows that the loss is significant, the
short one that it continues. A minimum number of bad requests keeps quiet hours from firing.
"""

from collections.abc import Iterator

from dashboards.objectives import (
    AVAILABILITY,
    BUDGET_DAYS,
    EXCLUDED,
    LATENCY,
    MIN_BAD_REQUESTS,
    PROBES,
    SERVER_ERRORS,
    Latency,
)
from dashboards.promql import GATEWAY, PROCESSES, rate
from dashboards.rules.rule import Alert, Group, Record

OBJECTIVE = "slo:polyphony_objective:ratio"
REQUESTS, BAD = "slo:polyphony_requests:rate5m", "slo:polyphony_bad_requests:rate5m"
BURN, COUNT = "slo:polyphony_burn_rate:ratio_rate", "slo:polyphony_bad_requests:increase"
REMAINING = "slo:polyphony_error_budget_remaining:ratio"
HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}

# Share of the budget that is spent within the long window when the alert fires, the long and the short window.
FAST = ((0.02, "1h", "5m"), (0.05, "6h", "30m"))
SLOW = ((0.10, "1d", "2h"), (0.10, "3d", "6h"))


def group() -> Group:
    """The recording rules, then the alerts."""
    return Group("budgets", [*_objectives(), *_availability(), *_latency(), *_burn(), *_alerts()])


def _objectives() -> Iterator[Record]:
    for service, objective in AVAILABILITY.items():
        yield Record(OBJECTIVE, f"vector({objective})", {"slo": "availability", "job": f"polyphony-{service}"})
    for route, latency in LATENCY.items():
        yield Record(OBJECTIVE, f"vector({latency.objective})", _named(route))


def _availability() -> Iterator[Record]:
    admitted = f'{PROCESSES}, method!~"{PROBES}", code!~"{EXCLUDED}"'
    requests = rate("polyphony_requests_total", "job", admitted, "5m")
    bad = rate("polyphony_requests_total", "job", f'{admitted}, code=~"{SERVER_ERRORS}"', "5m")
    yield Record(REQUESTS, requests, {"slo": "availability"})
    yield Record(BAD, f"{bad}\nor\n{requests} * 0", {"slo": "availability"})


def _latency() -> Iterator[Record]:
    for route, latency in LATENCY.items():
        requests, quick = _timed(latency)
        yield Record(REQUESTS, requests, _named(route))
        yield Record(BAD, f"{requests}\n- {quick}", _named(route))


def _named(route: str) -> dict[str, str]:
    return {"slo": "latency", "job": "polyphony-gateway", "route": route}


def _timed(latency: Latency) -> tuple[str, str]:
    """The rates of all requests of a class and of those that ended within the bound."""
    where = f'{GATEWAY}, method=~"{latency.methods}"'
    requests = rate("polyphony_request_duration_seconds_count", where=where, window="5m")
    return requests, rate(
        "polyphony_request_duration_seconds_bucket", where=f'{where}, le="{latency.bound}"', window="5m"
    )


def _burn() -> Iterator[Record]:
    for window in HOURS:
        yield Record(f"{BURN}{window}", f"{_bad_share(window)}\n/ (1 - {OBJECTIVE})")
    for _, window, _ in (*FAST, *SLOW):
        yield Record(f"{COUNT}{window}", _bad_count(window))
    yield Record(REMAINING, f"1 - {_bad_share(f'{BUDGET_DAYS}d')}\n/ (1 - {OBJECTIVE})")


def _bad_share(window: str) -> str:
    """The share of bad requests in a window, each request with the same weight."""
    if window == "5m":
        return f"{BAD} / ({REQUESTS} > 0)"
    return f"sum_over_time({BAD}[{window}]) / (sum_over_time({REQUESTS}[{window}]) > 0)"


def _bad_count(window: str) -> str:
    """The approximate number of bad requests in a window.

    A rate that is recorded every n seconds stands for n seconds; the samples of the objective, which is always
    recorded, tell n.
    """
    return f"sum_over_time({BAD}[{window}])\n* 300 / count_over_time({OBJECTIVE}[5m])"


def _alerts() -> Iterator[Alert]:
    about = {
        "availability": ("{{ $labels.job }} fails requests", "Callers get errors from {{ $labels.job }}"),
        "latency": ("{{ $labels.route }} is slow", "Requests to {{ $labels.route }} exceed their latency objective"),
    }
    for slo, (what, meaning) in about.items():
        for speed, windows in (("fast", FAST), ("slowly", SLOW)):
            yield Alert(
                f"{slo.capitalize()}Burns{speed.capitalize()}",
                "critical" if speed == "fast" else "warning",
                "\nor\n".join(_burning(slo, *row) for row in windows),
                "2m" if speed == "fast" else "15m",
                f"{what}: its error budget burns {speed}",
                f"{meaning}: {{{{ $value | humanize }}}} times as many as the budget of {BUDGET_DAYS} days allows.",
            )


def _burning(slo: str, spent: float, long: str, short: str) -> str:
    """A condition: at this burn rate, over both windows, `spent` of the budget is gone within the long window."""
    limit = round(spent * BUDGET_DAYS * 24 / HOURS[long], 2)
    burns = (f'{BURN}{window}{{slo="{slo}"}} > {limit}' for window in (long, short))
    return f"({' and '.join(burns)} and {COUNT}{long} >= {MIN_BAD_REQUESTS})"
