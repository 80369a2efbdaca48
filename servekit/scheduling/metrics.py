"""The metrics and spans of one scheduler."""

from collections.abc import Sequence

from servekit.errors import ServeError, reason
from servekit.ops.telemetry import Exemplar, Telemetry
from servekit.scheduling.queue import FairQueue, WorkItem
from servekit.scheduling.run import Run


class SchedulerMetrics:
    """What a scheduler reports of its queue and its runs.

    Args:
        model: The model's id, the label of every metric.
        telemetry: Holds the metrics and the tracer of the process.
        queue: Its depth and cost are gauges.
    """

    def __init__(self, model: str, telemetry: Telemetry, queue: FairQueue) -> None:
        self._model = model
        self._telemetry = telemetry
        self._queue_duration = telemetry.queue_duration.labels(model)
        self._inference_duration = telemetry.inference_duration.labels(model)
        self._offered_load = telemetry.offered_load.labels(model)
        telemetry.queue_depth.labels(model).set_function(lambda: len(queue))
        telemetry.queue_cost.labels(model).set_function(lambda: queue.cost)

    def count_offered(self, engine_seconds: float) -> None:
        """Count offered load."""
        self._offered_load.inc(engine_seconds)

    def count_rejected(self, error: ServeError) -> None:
        """Count an item that was rejected, or dropped from the queue."""
        self._telemetry.rejected_requests.labels(self._model, reason(error)).inc()

    def report_wait(self, items: Sequence[WorkItem], taken_at: float) -> None:
        """Report how long items have waited for an engine."""
        for item in items:
            trace = self._telemetry.past_span("queue", item.context, item.queued_at, taken_at, model=self._model)
            self._queue_duration.observe(taken_at - item.queued_at, trace)

    def report_run(self, run: Run) -> None:
        """Report a run that has ended, with a span of each of its items."""
        trace = None
        size, cost = len(run.items), run.cost
        for item in run.items:
            span = self.report_engine(item, run.started_at, run.ended_at, batch_size=size, batch_cost=cost)
            trace = trace or span
        self._inference_duration.observe(run.seconds, trace)

    def report_engine(self, item: WorkItem, start: float, end: float, **attributes: float) -> Exemplar | None:
        """Record the span of an item's time on an engine."""
        return self._telemetry.past_span("engine", item.context, start, end, model=self._model, **attributes)

    def report_step(self, run: Run) -> None:
        """Report a run in which items only took one of their steps."""
        self._inference_duration.observe(run.seconds)
