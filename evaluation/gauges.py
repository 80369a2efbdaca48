"""The results of a canary run as gauges in a Prometheus Pushgateway."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from evaluation.replay import CanaryResult

JOB = "canary"
PUSH_SECONDS = 10.0


def of_task(result: CanaryResult) -> CollectorRegistry:
    """The gauges of one task. The quality gauge is absent where no item was answered."""
    gauges = CollectorRegistry()
    quality = Gauge(
        "polyphony_canary_quality_ratio",
        "Value of a quality metric over the answered items, 0 to 1.",
        ["metric"],
        registry=gauges,
    )
    for metric, value in result.quality.items():
        quality.labels(metric).set(value)
    Gauge("polyphony_canary_items", "Items that were sent.", registry=gauges).set(result.items)
    Gauge("polyphony_canary_failed_items", "Items that got no answer.", registry=gauges).set(len(result.failures))
    return gauges


def of_success() -> CollectorRegistry:
    """The time of a run in which every item was answered: now."""
    gauges = CollectorRegistry()
    name = "polyphony_canary_last_success_timestamp_seconds"
    Gauge(name, "Unix time at which every item was last answered.", registry=gauges).set_to_current_time()
    return gauges


def push(results: Sequence[CanaryResult], pushgateway: str) -> None:
    """Replace the gauges of each task, in a group labelled `task`; record a success if no item failed.

    Raises:
        OSError: The Pushgateway cannot be reached or refuses.
    """
    for result in results:
        push_to_gateway(pushgateway, JOB, of_task(result), {"task": result.task}, PUSH_SECONDS)
    if not any(result.failures for result in results):
        push_to_gateway(pushgateway, JOB, of_success(), timeout=PUSH_SECONDS)
