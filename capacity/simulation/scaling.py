"""Scaling metrics of pods, with the delays of a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

from capacity.simulation.hpa import Behavior, MetricReading
from capacity.simulation.pods import Pod, Sample

Metric = Literal["offered-load", "cpu", "busy", "queue", "fixed"]
METRICS: tuple[Metric, ...] = get_args(Metric)
TARGETS: Mapping[Metric, float] = {"offered-load": 0.7, "cpu": 0.7, "busy": 0.7, "queue": 0.5, "fixed": inf}

SCRAPE_SECONDS = 15.0
RATE_SECONDS = 60.0
CPU_SECONDS = 30.0  # metrics-server computes rates over its last two scrapes of a kubelet


@dataclass(frozen=True, slots=True)
class Scaler:
    """An autoscaler on one metric.

    Attributes:
        metric: `offered-load`: engine seconds requested a second, rejected work included, per engine. `busy`: the share
            of time that engines run, like a GPU's utilization. `cpu`: CPU usage over the pod's request. `queue`: the
            queue depth at the scrape over the concurrent requests of a fully used pod. `fixed`: none.
        target: The metric's `averageValue`, in these units.
        behavior: The behavior of the HPA.
        rate_seconds: The window of `rate()`.
        scrape_seconds: The scrape interval.
    """

    metric: Metric
    target: float
    behavior: Behavior = field(default_factory=Behavior)
    rate_seconds: float = RATE_SECONDS
    scrape_seconds: float = SCRAPE_SECONDS

    def read(self, pods: Iterable[Pod], now: float) -> MetricReading:
        """The metric of every pod that the HPA counts.

        A pending pod is unready. For CPU, one that is not ready yet is too; for metrics of Prometheus, a running pod
        without two scrapes within the window is missing.
        """
        values, unready, missing = [], 0, 0
        for pod in pods:
            if now < pod.started or (self.metric == "cpu" and now < pod.ready):
                unready += 1
            elif (value := self._value(pod, now)) is None:
                missing += 1
            else:
                values.append(value)
        return MetricReading(values, unready, missing)

    def _value(self, pod: Pod, now: float) -> float | None:
        window = CPU_SECONDS + 1 if self.metric == "cpu" else self.rate_seconds
        while pod.samples and pod.samples[0].time <= now - window:
            pod.samples.popleft()
        if not pod.samples:
            return None
        last, curve = pod.samples[-1], pod.curve
        if self.metric == "queue":
            return last.waiting / curve.together
        first = pod.samples[0]
        if first is last:
            return None
        seconds = last.time - first.time
        if self.metric == "cpu":
            return _cpu(pod, first, last) / seconds / curve.cpu_cores
        gained = last.offered - first.offered if self.metric == "offered-load" else last.busy - first.busy
        return gained / seconds / curve.engines


def _cpu(pod: Pod, first: Sample, last: Sample) -> float:
    """CPU seconds between two samples."""
    curve = pod.curve
    return (last.busy - first.busy) * curve.cpu_per_engine_second + (last.calls - first.calls) * curve.cpu_per_call
