"""Alerts on capacity: saturation, rejected requests, degraded responses, missing services."""

from dashboards.objectives import MIN_BAD_REQUESTS
from dashboards.promql import APPLICATIONS, load, ours, rate, share
from dashboards.rules.rule import Alert, Group

OVERLOADED = 'reason=~"OVERLOADED|OUT_OF_MEMORY"'


def group() -> Group:
    """The alerts."""
    rejected = rate("polyphony_rejected_requests_total", "job, model", OVERLOADED, "10m")
    admitted = rate("polyphony_queue_duration_seconds_count", "job, model", "", "10m")
    replicas = "kube_horizontalpodautoscaler"
    scaler = f'{{horizontalpodautoscaler=~"{APPLICATIONS}"}}'
    bound = f"{replicas}_status_current_replicas{scaler} >= {replicas}_spec_max_replicas{scaler} > 1"
    return Group(
        "capacity",
        [
            Alert(
                "Saturated",
                "warning",
                f"{load(window='5m')} > 0.9",
                "15m",
                "The offered load of {{ $labels.model }} is {{ $value | humanizePercentage }} of its engines' capacity",
                "The queue of {{ $labels.model }} fills up, and requests beyond it are rejected. "
                "Autoscaling should have added pods by now.",
            ),
            Alert(
                "RejectsRequests",
                "critical",
                f"({rejected})\n/ ({rejected} + {admitted})\n> 0.05\nand {rejected} * 600 >= {MIN_BAD_REQUESTS}",
                "10m",
                "{{ $labels.model }} rejects {{ $value | humanizePercentage }} of its items",
                "Callers of {{ $labels.job }} get status 429 with a retry delay. Retries add to the load.",
            ),
            Alert(
                "ResponsesDegraded",
                "warning",
                share(
                    rate("polyphony_pipeline_responses_total", "job", 'degraded="true"', "10m"),
                    rate("polyphony_pipeline_responses_total", "job", "", "10m"),
                )
                + "\n> 0.05",
                "10m",
                "{{ $value | humanizePercentage }} of the pipeline responses are degraded",
                "Callers get answers without the text of an image, a recording or a search.",
            ),
            Alert(
                "ServiceMissing",
                "critical",
                f"{rate('polyphony_unserved_load_engine_seconds_total', 'service', '', '5m')} > 0",
                "10m",
                "The gateway reaches no pod of {{ $labels.service }}",
                "Requests for {{ $labels.service }} have failed for ten minutes: it has no pods and does not start.",
            ),
            Alert(
                "AtMaxReplicas",
                "warning",
                ours(bound),
                "30m",
                "{{ $labels.horizontalpodautoscaler }} has had its maximum of {{ $value }} replicas for 30 minutes",
                "It cannot scale further: the next rise of the load will be rejected.",
            ),
        ],
    )
