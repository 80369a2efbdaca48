"""The first look: does the fleet answer, how fast, and is there room."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.objectives import ASIDE, FAULTS, PROBES
from dashboards.panel import lines, number
from dashboards.promql import GATEWAY, PROCESSES, SERVICES, load, ours, quantile, rate, share

CALLERS = f'{GATEWAY}, method!~"{PROBES}"'
REQUESTS, SECONDS = "polyphony_requests_total", "polyphony_request_seconds"


def _failures(by: str, where: str) -> str:
    return share(rate(REQUESTS, by, f'{where}, code=~"{FAULTS}"'), rate(REQUESTS, by, f'{where}, code!~"{ASIDE}"'))


def made() -> Dashboard:
    """The dashboard."""
    now = [
        number("Processes up", "Below the number that should run: open Service.", "short",
               f"sum(up{{{PROCESSES}}})"),
        number("Alerts firing", "Each has its paragraph in docs/runbook.md.", "short",
               'count(ALERTS{alertname=~"Polyphony.*", alertstate="firing"}) or vector(0)', limits=(1, 3)),
        number("Requests", "Calls of applications a second.", "reqps", rate(REQUESTS, where=CALLERS)),
        number("Failures", "Share of the calls that the fleet let in and failed. Above 0.5% the budget shrinks: "
               "open Error budgets.", "percentunit", _failures("", CALLERS), limits=(0.005, 0.05)),
        number("Highest load", "Of any model. Above 0.9 for long: add replicas, see Scaling.", "percentunit",
               f"max({load()})", limits=(0.7, 0.9)),
        number("Degraded answers", "Share of composed answers that leave a step out. Compositions says which.",
               "percentunit", share(rate("polyphony_answers_total", where='degraded="true"'),
                                    rate("polyphony_answers_total")), limits=(0.01, 0.05)),
    ]  # fmt: skip
    callers = [
        lines("Requests", "By route, as callers see them. A sudden zero is as telling as a peak.", "reqps",
              {"{{method}}": rate(REQUESTS, "method", CALLERS)}),
        lines("Failures", "Share of a route's calls that failed by our fault. Look at the service behind the route.",
              "percentunit", {"{{method}}": _failures("method", CALLERS)}, limits=(0.005, 0.05)),
        lines("Duration, 95%", "One call in twenty takes longer. A mark is one request: it leads to its trace.", "s",
              {"{{method}}": quantile(0.95, SECONDS, "method", CALLERS)}, exemplars=True),
    ]  # fmt: skip
    services = [
        lines("Requests", "Calls from the gateway and from internal systems.", "reqps",
              {"{{job}}": rate(REQUESTS, "job", SERVICES)}),
        lines("Failures", "The service that leads here is where to look first.", "percentunit",
              {"{{job}}": _failures("job", SERVICES)}, limits=(0.005, 0.05)),
        lines("Duration, 95%", "Of a call within a service, its queue included.", "s",
              {"{{job}}": quantile(0.95, SECONDS, "job", SERVICES)}, exemplars=True),
    ]  # fmt: skip
    room = [
        lines("Load", "Engine seconds asked for per engine second. Above 1 work is turned away: add replicas.",
              "percentunit", {"{{job}} {{model}}": load()}, limits=(0.7, 0.9)),
        lines("Turned away", "Calls refused with a delay to wait, because the queue was full or the deadline too near.",
              "reqps", {"{{job}}": rate(REQUESTS, "job", 'code="RESOURCE_EXHAUSTED"')}),
        lines("In flight", "Calls that run or wait. Growth without more requests means that something is stuck.",
              "short", {"{{job}}": f"sum by (job) (polyphony_in_flight{{{PROCESSES}}})"}),
    ]  # fmt: skip
    certificates = [
        lines("Of processes", "Time that is left. Below a week: it was not renewed, or the pod still reads the old "
              "one.", "s", {"{{job}} {{instance}}": "polyphony_tls_expiry_timestamp_seconds - time()"},
              limits=(7 * 86400, 3 * 86400), width=12),
        lines("Of cert-manager", "Time that is left. `kubectl describe certificate` says why one is not renewed.", "s",
              {"{{name}}": ours("certmanager_certificate_expiration_timestamp_seconds - time()")},
              limits=(7 * 86400, 3 * 86400), width=12),
    ]  # fmt: skip
    return board(
        "fleet",
        "Fleet",
        "Rate, errors, duration and load of the whole fleet: the first look.",
        {"Now": now, "What callers see": callers, "Services": services, "Room": room, "Certificates": certificates},
    )
