"""Error budgets, and alerts on how fast they burn: several windows, several rates.

The method is that of The Site Reliability Workbook, chapter 5: a long window says that it matters,
a short one that it still goes on. Of few calls a share says little: a floor of bad ones keeps quiet hours quiet.
"""

from collections.abc import Iterator

from dashboards.objectives import ASIDE, AVAILABILITY, BUDGET_DAYS, FAULTS, FEWEST_BAD, LATENCY, PROBES, Latency
from dashboards.promql import GATEWAY, PROCESSES, rate
from dashboards.rules.rule import Alert, Group, Record

OBJECTIVE, CALLS, BAD = "slo:polyphony_objective:ratio", "slo:polyphony_calls:rate5m", "slo:polyphony_bad:rate5m"
BURN, COUNT, LEFT = "slo:polyphony_burn:rate", "slo:polyphony_bad:count", "slo:polyphony_budget_left:ratio"
HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}

# How much of the budget is gone within the long window when it fires.
FAST = ((0.02, "1h", "5m"), (0.05, "6h", "30m"))
SLOW = ((0.10, "1d", "2h"), (0.10, "3d", "6h"))


def group() -> Group:
    """Records, then alerts."""
    return Group("budgets", [*_objectives(), *_availability(), *_latency(), *_burn(), *_alerts()])


def _objectives() -> Iterator[Record]:
    for service, objective in AVAILABILITY.items():
        yield Record(OBJECTIVE, f"vector({objective})", {"slo": "availability", "job": f"polyphony-{service}"})
    for route, latency in LATENCY.items():
        yield Record(OBJECTIVE, f"vector({latency.objective})", _named(route))


def _availability() -> Iterator[Record]:
    let_in = f'{PROCESSES}, method!~"{PROBES}", code!~"{ASIDE}"'
    calls = rate("polyphony_requests_total", "job", let_in, "5m")
    bad = rate("polyphony_requests_total", "job", f'{let_in}, code=~"{FAULTS}"', "5m")
    yield Record(CALLS, calls, {"slo": "availability"})
    yield Record(BAD, f"{bad}\nor\n{calls} * 0", {"slo": "availability"})


def _latency() -> Iterator[Record]:
    for route, latency in LATENCY.items():
        calls, quick = _timed(latency)
        yield Record(CALLS, calls, _named(route))
        yield Record(BAD, f"{calls}\n- {quick}", _named(route))


def _named(route: str) -> dict[str, str]:
    return {"slo": "latency", "job": "polyphony-gateway", "route": route}


def _timed(latency: Latency) -> tuple[str, str]:
    """All calls of a class, and those that ended within the bound."""
    where = f'{GATEWAY}, method=~"{latency.methods}"'
    calls = rate("polyphony_request_seconds_count", where=where, window="5m")
    return calls, rate("polyphony_request_seconds_bucket", where=f'{where}, le="{latency.bound}"', window="5m")


def _burn() -> Iterator[Record]:
    for window in HOURS:
        yield Record(f"{BURN}{window}", f"{_bad_share(window)}\n/ (1 - {OBJECTIVE})")
    for _, window, _ in (*FAST, *SLOW):
        yield Record(f"{COUNT}{window}", _bad_count(window))
    yield Record(LEFT, f"1 - {_bad_share(f'{BUDGET_DAYS}d')}\n/ (1 - {OBJECTIVE})")


def _bad_share(window: str) -> str:
    """Of the calls in a window, each with the same weight."""
    if window == "5m":
        return f"{BAD} / ({CALLS} > 0)"
    return f"sum_over_time({BAD}[{window}]) / (sum_over_time({CALLS}[{window}]) > 0)"


def _bad_count(window: str) -> str:
    """About so many calls: a rate recorded every n seconds stands for n. The objective, always there, tells n."""
    return f"sum_over_time({BAD}[{window}])\n* 300 / count_over_time({OBJECTIVE}[5m])"


def _alerts() -> Iterator[Alert]:
    about = {
        "availability": ("{{ $labels.job }} fails calls", "Callers see errors of {{ $labels.job }}"),
        "latency": ("{{ $labels.route }} is slow", "Callers wait for {{ $labels.route }} longer than is promised"),
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
    """Burns so fast, over both windows, that `spent` of the budget is gone within the long one; of calls enough."""
    limit = round(spent * BUDGET_DAYS * 24 / HOURS[long], 2)
    burns = (f'{BURN}{window}{{slo="{slo}"}} > {limit}' for window in (long, short))
    return f"({' and '.join(burns)} and {COUNT}{long} >= {FEWEST_BAD})"
