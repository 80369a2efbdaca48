"""What a process tells its operators: metrics and traces, named alike in every service."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal
from wsgiref.simple_server import WSGIServer

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from servekit.ops.settings import ProcessSettings
from servekit.rpc.errors import FailedPrecondition
from servekit.rpc.tls import expiry

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
COSTS = tuple(4.0**n for n in range(-2, 13))
EXPORT_SECONDS = 2.0  # how long a collector that is away may hold up the end of a process


Exemplar = dict[str, str]
"""What ties a measurement to a sampled trace."""


class Telemetry:
    """The metrics and the tracer of one process; built in `__main__`, passed down.

    Attributes:
        port: The port of `/metrics`, once it listens.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._metrics: WSGIServer | None = None
        self.port = 0
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
        self.load_seconds = gauge("polyphony_model_load_seconds", "What loading and warming a model took", model)
        self.engines = gauge("polyphony_engines", "Engines of a model, or slots of its one engine", model)
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
        self.unserved_demand = counter(
            "polyphony_unserved_demand_seconds", "Engine seconds asked of a service that nobody runs", ["service"]
        )
        self.step_seconds = seconds("polyphony_step_seconds", "A step of a composed request", ["step", "outcome"])
        self.answers = counter("polyphony_answers", "Composed answers, by whether a step was left out", ["degraded"])
        disk = gauge("polyphony_disk_bytes", "The file system that a folder is on", ["folder"])
        disk_free = gauge("polyphony_disk_free_bytes", "What is free of it", ["folder"])
        for name, folder in settings.folders.items():
            disk.labels(name).set_function(partial(_disk, folder, "total"))
            disk_free.labels(name).set_function(partial(_disk, folder, "free"))
        if certificate := settings.tls_certificate:
            ends = gauge("polyphony_tls_expiry_timestamp_seconds", "When the certificate ends, in seconds since 1970")
            ends.set_function(lambda: expiry(certificate))
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = trace.NoOpTracer()
        if settings.otlp_endpoint:
            resource = Resource.create({"service.name": f"polyphony-{settings.process}"})
            self._provider = TracerProvider(ParentBased(TraceIdRatioBased(settings.otlp_sample_ratio)), resource)
            plain = settings.otlp_endpoint.startswith("http://")
            exporter = OTLPSpanExporter(settings.otlp_endpoint, insecure=plain, timeout=EXPORT_SECONDS)
            self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
            self._tracer = self._provider.get_tracer("polyphony")

    def listen(self) -> None:
        """Open `/metrics`, in plain text or OpenMetrics as the caller accepts; before any model loads, to show that.

        Raises:
            FailedPrecondition: The port is taken.
        """
        host, port = self._settings.host, self._settings.metrics_port
        try:
            self._metrics, _ = start_http_server(port, host, self.registry)
        except OSError as error:
            raise FailedPrecondition(
                f"{host}:{port} cannot be listened on; is it taken?", field="metrics_port"
            ) from error
        self.port = self._metrics.server_port

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Time a part of a model's load."""
        began = time.monotonic()
        yield
        self.load_seconds.labels(model).inc(time.monotonic() - began)

    def server_span(self, name: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        """A span for as long as the context lasts, a child of the one that the caller's `traceparent` names."""
        if self._provider is None:
            return nullcontext()
        return self._tracer.start_as_current_span(name, propagate.extract(metadata), SpanKind.SERVER)

    def event(self, name: str, **attributes: float | str) -> None:
        """Note on the current span what has just happened."""
        if self._provider is not None:
            trace.get_current_span().add_event(name, attributes)

    def exemplar(self) -> Exemplar | None:
        """The current trace, if it is sampled."""
        return None if self._provider is None else _exemplar(trace.get_current_span())

    def past_span(
        self, name: str, context: Context, start: float, end: float, **attributes: float | str
    ) -> Exemplar | None:
        """Record a span that has already happened, timed by `time.monotonic()`.

        Returns:
            Its trace, if it is sampled.
        """
        if self._provider is None:
            return None
        to_epoch = time.time() - time.monotonic()
        span = self._tracer.start_span(name, context, start_time=int((start + to_epoch) * 1e9), attributes=attributes)
        span.end(int((end + to_epoch) * 1e9))
        return _exemplar(span)

    def close(self) -> None:
        """Send what is still to be sent, and stop listening."""
        if self._metrics is not None:
            self._metrics.shutdown()
            self._metrics.server_close()
        if self._provider is not None:
            self._provider.shutdown()


def _exemplar(span: trace.Span) -> Exemplar | None:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None


def _disk(folder: Path, what: Literal["total", "free"]) -> float:
    """Bytes of the file system that a folder is on, or will be once it is made."""
    usage = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists()))
    return float(getattr(usage, what))


def inject(metadata: dict[str, str]) -> None:
    """Hand the current trace on as a W3C `traceparent`."""
    propagate.inject(metadata)
