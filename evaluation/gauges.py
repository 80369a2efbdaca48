"""What a replay found, as gauges in a Prometheus Pushgateway."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from evaluation.replay import Result

JOB = "canary"
PUSH_SECONDS = 10.0


def of_task(result: Result) -> CollectorRegistry:
    """The gauges of one task. No quality where nothing was answered: it is not known."""
    gauges = CollectorRegistry()
    quality = Gauge("polyphony_quality", "How good the answers were, 0 to 1", ["metric"], registry=gauges)
    for metric, value in result.quality.items():
        quality.labels(metric).set(value)
    Gauge("polyphony_quality_items", "What was asked", registry=gauges).set(result.items)
    Gauge("polyphony_quality_failures", "What had no answer", registry=gauges).set(len(result.failures))
    return gauges


def of_success() -> CollectorRegistry:
    """The time of a replay in which every item was answered: now."""
    gauges = CollectorRegistry()
    name = "polyphony_canary_last_success_timestamp_seconds"
    Gauge(name, "When every item was answered, in seconds since 1970", registry=gauges).set_to_current_time()
    return gauges


def push(results: Sequence[Result], pushgateway: str) -> None:
    """Replace what was pushed of each task, whose name is the group's label `task`, and note a success.

    Raises:
        OSError: The Pushgateway cannot be reached or refuses.
    """
    for result in results:
        push_to_gateway(pushgateway, JOB, of_task(result), {"task": result.task}, PUSH_SECONDS)
    if not any(result.failures for result in results):
        push_to_gateway(pushgateway, JOB, of_success(), timeout=PUSH_SECONDS)
