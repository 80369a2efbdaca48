"""Room: more work than engines, callers turned away, answers without a part."""

from dashboards.objectives import FEWEST_BAD
from dashboards.promql import APPLICATIONS, load, ours, rate, share
from dashboards.rules.rule import Alert, Group

REFUSED = 'reason=~"OVERLOADED|OUT_OF_MEMORY"'


def group() -> Group:
    """The alerts."""
    refused = rate("polyphony_refusals_total", "job, model", REFUSED, "10m")
    taken = rate("polyphony_queue_wait_seconds_count", "job, model", "", "10m")
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
                "{{ $labels.model }} is asked for {{ $value | humanizePercentage }} of what its engines can do",
                "The queue of {{ $labels.model }} fills, and what exceeds it is turned away. "
                "Autoscaling should have answered by now.",
            ),
            Alert(
                "RefusesMuch",
                "critical",
                f"({refused})\n/ ({refused} + {taken})\n> 0.05\nand {refused} * 600 >= {FEWEST_BAD}",
                "10m",
                "{{ $labels.model }} turns {{ $value | humanizePercentage }} of its items away",
                "Callers of {{ $labels.job }} get 429 with a delay to wait. Those who try again add to the load.",
            ),
            Alert(
                "AnswersDegraded",
                "warning",
                share(
                    rate("polyphony_answers_total", "job", 'degraded="true"', "10m"),
                    rate("polyphony_answers_total", "job", "", "10m"),
                )
                + "\n> 0.05",
                "10m",
                "{{ $value | humanizePercentage }} of the composed answers leave a step out",
                "Callers get answers, but without what an image, a recording or a search would have added.",
            ),
            Alert(
                "ServiceMissing",
                "critical",
                f"{rate('polyphony_unserved_demand_seconds_total', 'service', '', '5m')} > 0",
                "10m",
                "The gateway finds no pod of {{ $labels.service }}",
                "Calls for {{ $labels.service }} have failed for ten minutes: it is at zero pods and does not come up.",
            ),
            Alert(
                "ScaledToItsBound",
                "warning",
                ours(bound),
                "30m",
                "{{ $labels.horizontalpodautoscaler }} has run at its bound of {{ $value }} replicas for half an hour",
                "There is no room left to scale: the next rise of the load is turned away.",
            ),
        ],
    )
