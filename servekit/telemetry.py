"""What a process tells its operators: metrics, traces and logs, named alike in every service."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from servekit.call import current
from servekit.settings import ProcessSettings

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
COSTS = tuple(4.0**n for n in range(-2, 13))
EXPORT_SECONDS = 2.0  # how long a collector that is away may hold up the end of a process


class Telemetry:
    """The metrics and the tracer of one process; built in `__main__`, passed down."""

    def __init__(self, settings: ProcessSettings) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        seconds, method, model = partial(histogram, buckets=SECONDS), ["method"], ["model"]
        self.requests = counter("polyphony_requests", "Calls that ended, by status code", ["method", "code"])
        self.latency = seconds("polyphony_request_seconds", "From a call's arrival to its end", method)
        self.in_flight = gauge("polyphony_in_flight", "Calls that are running", method)
        self.ready = gauge("polyphony_model_ready", "Whether a model is loaded and warm", model)
        self.queue_depth = gauge("polyphony_queue_depth", "Items that wait for an engine", model)
        self.queue_cost = gauge("polyphony_queue_cost", "What the waiting items cost, in the model's unit", model)
        self.queue_wait = seconds("polyphony_queue_wait_seconds", "From permit to engine", model)
        self.batch_size = histogram("polyphony_batch_size", "Items that ran together", model, buckets=SIZES)
        self.batch_cost = histogram(
            "polyphony_batch_cost", "What ran together, in the model's unit", model, buckets=COSTS
        )
        self.engine_seconds = seconds("polyphony_engine_seconds", "One run of an engine", model)
        self.refusals = counter("polyphony_refusals", "Items turned away or dropped", ["model", "reason"])
        self.demand = counter(
            "polyphony_demand_seconds", "Engine seconds asked for, those refused or dropped included", model
        )
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        if settings.otlp_endpoint:
            resource = Resource.create({"service.name": f"polyphony-{settings.process}"})
            self._provider = TracerProvider(resource=resource)
            plain = settings.otlp_endpoint.startswith("http://")
            exporter = OTLPSpanExporter(settings.otlp_endpoint, insecure=plain, timeout=EXPORT_SECONDS)
            self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
            self._tracer = self._provider.get_tracer("polyphony")

    def server_span(self, name: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        """A span for as long as the context lasts, a child of the one that the caller's `traceparent` names."""
        if self._provider is None:
            return nullcontext()
        return self._tracer.start_as_current_span(name, propagate.extract(metadata), SpanKind.SERVER)

    def past_span(self, name: str, context: Context, start: float, end: float, **attributes: float | str) -> None:
        """Record a span that has already happened, timed by `time.monotonic()`."""
        if self._provider is None:
            return
        to_epoch = time.time() - time.monotonic()
        span = self._tracer.start_span(name, context, start_time=int((start + to_epoch) * 1e9), attributes=attributes)
        span.end(int((end + to_epoch) * 1e9))

    def close(self) -> None:
        """Send what is still to be sent."""
        if self._provider is not None:
            self._provider.shutdown()


def inject(metadata: dict[str, str]) -> None:
    """Hand the current trace on as a W3C `traceparent`."""
    propagate.inject(metadata)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, with the request and the trace that it belongs to."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        call = current()
        span = trace.get_current_span().get_span_context()
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if call.request_id:
            line |= {"request_id": call.request_id, "tenant": call.tenant}
        if span.is_valid:
            line |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure_logging(settings: ProcessSettings) -> None:
    """Send every log line of the process to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(settings.process))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it says a line a request
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_no_late_answer)


def _is_no_late_answer(record: logging.LogRecord) -> bool:
    """gRPC logs a traceback for each answer that comes just after its caller's deadline: most when time is least."""
    return not str(record.msg).startswith("ExecuteBatchError")
