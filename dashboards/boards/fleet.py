"""The overview dashboard: availability, latency and capacity of the fleet."""

from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.board import board
from dashboards.objectives import EXCLUDED, PROBES, SERVER_ERRORS
from dashboards.panel import lines, number
from dashboards.promql import GATEWAY, PROCESSES, SERVICES, load, ours, quantile, rate, share

APPLICATION_REQUESTS = f'{GATEWAY}, method!~"{PROBES}"'
REQUESTS, SECONDS = "polyphony_requests_total", "polyphony_request_duration_seconds"


def _failures(by: str, where: str) -> str:
    return share(
        rate(REQUESTS, by, f'{where}, code=~"{SERVER_ERRORS}"'), rate(REQUESTS, by, f'{where}, code!~"{EXCLUDED}"')
    )


def made() -> Dashboard:
    """The dashboard."""
    now = [
        number("Processes up", "Fewer than expected: open Service.", "short",
               f"sum(up{{{PROCESSES}}})"),
        number("Alerts firing", "docs/how-to/runbook.md has a section on each.", "short",
               'count(ALERTS{alertname=~"Polyphony.*", alertstate="firing"}) or vector(0)', limits=(1, 3)),
        number("Requests", "Requests of applications a second.", "reqps", rate(REQUESTS, where=APPLICATION_REQUESTS)),
        number("Failures", "Share of the admitted requests that failed. Above 0.5% they spend the error budget: "
               "open Error budgets.", "percentunit", _failures("", APPLICATION_REQUESTS), limits=(0.005, 0.05)),
        number("Highest utilization", "Of any model. Above 0.9 for long: add replicas, see Scaling.", "percentunit",
               f"max({load()})", limits=(0.7, 0.9)),
        number("Degraded responses", "Share of pipeline responses that lack an optional step. Pipelines shows which.",
               "percentunit", share(rate("polyphony_pipeline_responses_total", where='degraded="true"'),
                                    rate("polyphony_pipeline_responses_total")), limits=(0.01, 0.05)),
    ]  # fmt: skip
    routes = [
        lines("Requests", "By route. A sudden zero deserves attention as much as a peak.", "reqps",
              {"{{method}}": rate(REQUESTS, "method", APPLICATION_REQUESTS)}),
        lines("Failures", "Share of a route's requests that failed with a server error. Look at its service.",
              "percentunit", {"{{method}}": _failures("method", APPLICATION_REQUESTS)}, limits=(0.005, 0.05)),
        lines("Duration, 95%", "One request in twenty takes longer. A mark is one request with a link to its trace.",
              "s", {"{{method}}": quantile(0.95, SECONDS, "method", APPLICATION_REQUESTS)}, exemplars=True),
    ]  # fmt: skip
    services = [
        lines("Requests", "Requests from the gateway and from internal systems.", "reqps",
              {"{{job}}": rate(REQUESTS, "job", SERVICES)}),
        lines("Failures", "Look first at the service with the highest share.", "percentunit",
              {"{{job}}": _failures("job", SERVICES)}, limits=(0.005, 0.05)),
        lines("Duration, 95%", "Of a request within a service, its queue included.", "s",
              {"{{job}}": quantile(0.95, SECONDS, "job", SERVICES)}, exemplars=True),
    ]  # fmt: skip
    capacity = [
        lines("Utilization", "Offered load per engine. Above 1 requests are rejected: add replicas.",
              "percentunit", {"{{job}} {{model}}": load()}, limits=(0.7, 0.9)),
        lines("Rejected", "Requests rejected with a retry delay: the queue was full or the deadline too near.",
              "reqps", {"{{job}}": rate(REQUESTS, "job", 'code="RESOURCE_EXHAUSTED"')}),
        lines("In flight", "Requests that run or wait. Growth without more requests means that something hangs.",
              "short", {"{{job}}": f"sum by (job) (polyphony_requests_in_flight{{{PROCESSES}}})"}),
    ]  # fmt: skip
    certificates = [
        lines("Of processes", "Time to expiry. Below a week: not renewed, or the pod still uses the old one.", "s",
              {"{{job}} {{instance}}": "polyphony_tls_certificate_expiration_timestamp_seconds - time()"},
              limits=(7 * 86400, 3 * 86400), width=12),
        lines("Of cert-manager", "Time to expiry. `kubectl describe certificate` shows why one is not renewed.", "s",
              {"{{name}}": ours("certmanager_certificate_expiration_timestamp_seconds - time()")},
              limits=(7 * 86400, 3 * 86400), width=12),
    ]  # fmt: skip
    return board(
        "fleet",
        "Fleet",
        "Rate, errors, duration and utilization of the whole fleet.",
        {"Now": now, "Routes": routes, "Services": services, "Capacity": capacity, "Certificates": certificates},
    )
