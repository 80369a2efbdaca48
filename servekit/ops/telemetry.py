"""Metrics and traces of a process, with the same names in every service."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Literal
from wsgiref.simple_server import WSGIServer

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from servekit.errors import FailedPrecondition
from servekit.ops.exposition import Exposition
from servekit.ops.settings import ProcessSettings
from servekit.ops.tls import expiry

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
COSTS = tuple(4.0**n for n in range(-2, 13))
MAX_TRACE_CHARACTERS = 512  # of a caller's `traceparent` and `tracestate`, each
EXPORT_SECONDS = 2.0  # timeout of an export, so that an unreachable collector does not delay the shutdown

_PROPAGATOR = TraceContextTextMapPropagator()

Exemplar = dict[str, str]
"""The labels that link a measurement to a sampled trace."""


class Telemetry:
    """The metrics and the tracer of one process; built in `__main__`, passed down.

    Attributes:
        port: The port of `/metrics`, once it listens.
        exposition: The metrics as text.
    """

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._metrics: WSGIServer | None = None
        self.port = 0
        self.registry = CollectorRegistry()
        self.exposition = Exposition(self.registry)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        seconds, method, model = partial(histogram, buckets=SECONDS), ["method"], ["model"]
        self.requests = counter("polyphony_requests", "Requests that ended, by status code.", ["method", "code"])
        self.request_duration = seconds(
            "polyphony_request_duration_seconds", "Time from a request's arrival to its end.", method
        )
        self.requests_in_flight = gauge("polyphony_requests_in_flight", "Requests that are being processed.", method)
        self.model_ready = gauge("polyphony_model_ready", "1 if the model is loaded and warm, else 0.", model)
        self.model_load_duration = gauge(
            "polyphony_model_load_duration_seconds", "Time that loading and warming up the model took.", model
        )
        self.engines = gauge("polyphony_engines", "Engines of the model, or slots of its only engine.", model)
        self.queue_depth = gauge("polyphony_queue_depth", "Items that wait for an engine.", model)
        self.queue_cost = gauge("polyphony_queue_cost", "Cost of the waiting items, in the model's unit.", model)
        self.queue_duration = seconds(
            "polyphony_queue_duration_seconds", "Time from an item's admission to its start on an engine.", model
        )
        self.batch_size = histogram("polyphony_batch_size", "Items in one batch.", model, buckets=SIZES)
        self.batch_cost = histogram(
            "polyphony_batch_cost", "Cost of one batch, in the model's unit.", model, buckets=COSTS
        )
        self.inference_duration = seconds(
            "polyphony_inference_duration_seconds", "Time of one run of an engine.", model
        )
        self.rejected_requests = counter(
            "polyphony_rejected_requests",
            "Items that admission control rejected or that were dropped from the queue, by reason.",
            ["model", "reason"],
        )
        self.offered_load = counter(
            "polyphony_offered_load_engine_seconds",
            "Engine seconds that were requested, those of rejected and dropped items included.",
            model,
        )
        self.unserved_load = counter(
            "polyphony_unserved_load_engine_seconds",
            "Engine seconds that were requested of a service without a running instance.",
            ["service"],
        )
        self.pipeline_step_duration = seconds(
            "polyphony_pipeline_step_duration_seconds", "Time of one step of a pipeline.", ["step", "outcome"]
        )
        self.pipeline_responses = counter(
            "polyphony_pipeline_responses", "Responses of pipelines, by whether an optional step failed.", ["degraded"]
        )
        self.connections = gauge("polyphony_http_connections", "Open HTTP connections, WebSockets among them.")
        self.closed_connections = counter(
            "polyphony_http_closed_connections",
            "HTTP connections that were closed to stay within a limit, by reason.",
            ["reason"],
        )
        self.realtime_sessions = gauge("polyphony_realtime_sessions", "Live sessions that are open.")
        self.body_bytes = gauge(
            "polyphony_request_body_bytes", "Bytes of request bodies that are received or processed.", ["place"]
        )
        self.event_loop_lag = histogram(
            "polyphony_event_loop_lag_seconds", "Delay of a periodic timer of the event loop.", buckets=LAGS
        )
        self.event_loop_busy = histogram(
            "polyphony_event_loop_busy_seconds",
            "Part of that delay in which the process used the CPU; in the rest it waited for a core.",
            buckets=LAGS,
        )
        size = gauge("polyphony_filesystem_size_bytes", "Size of the file system that holds the folder.", ["folder"])
        available = gauge(
            "polyphony_filesystem_avail_bytes", "Space available on the file system that holds the folder.", ["folder"]
        )
        for name, folder in settings.folders.items():
            size.labels(name).set_function(partial(_disk, folder, "total"))
            available.labels(name).set_function(partial(_disk, folder, "free"))
        if certificate := settings.tls_certificate_file:
            expiration = gauge(
                "polyphony_tls_certificate_expiration_timestamp_seconds",
                "Unix time at which the process's TLS certificate expires.",
            )
            expiration.set_function(lambda: expiry(certificate))
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
        """Open `/metrics`, in plain text or OpenMetrics as the client accepts.

        The process opens it before it loads models, so that the metrics show the loading.

        Raises:
            FailedPrecondition: The port is taken.
        """
        host, port = self._settings.host, self._settings.metrics_port
        try:
            self._metrics = self.exposition.serve(host, port)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot listen on {host}:{port}: the address is in use", field="metrics_port"
            ) from error
        self.port = self._metrics.server_port

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Add the time of the block to the load time of a model."""
        began = time.monotonic()
        yield
        self.model_load_duration.labels(model).inc(time.monotonic() - began)

    def remove_model(self, model: str) -> None:
        """Remove what is reported of a model that has been unloaded; its counters stay."""
        for gauge in (self.model_ready, self.model_load_duration, self.engines, self.queue_depth, self.queue_cost):
            gauge.remove(model)

    def server_span(self, name: str, metadata: Mapping[str, str]) -> AbstractContextManager[object]:
        """Open a server span, a child of the span that the caller's `traceparent` names.

        An exception marks it as failed, by its class alone: the text may quote the request.
        """
        if self._provider is None:
            return nullcontext()
        return self._server_span(name, _parent(metadata))

    @contextmanager
    def _server_span(self, name: str, parent: Context) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name, parent, SpanKind.SERVER, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise

    def event(self, name: str, **attributes: float | str) -> None:
        """Add an event to the current span."""
        if self._provider is not None:
            trace.get_current_span().add_event(name, attributes)

    def exemplar(self) -> Exemplar | None:
        """The exemplar of the current trace; None if it is not sampled."""
        return None if self._provider is None else _exemplar(trace.get_current_span())

    def past_span(
        self, name: str, context: Context, start: float, end: float, **attributes: float | str
    ) -> Exemplar | None:
        """Record a span that has already ended; `start` and `end` are times of `time.monotonic()`.

        Returns:
            The exemplar of its trace; None if it is not sampled.
        """
        if self._provider is None:
            return None
        to_epoch = time.time() - time.monotonic()
        span = self._tracer.start_span(name, context, start_time=int((start + to_epoch) * 1e9), attributes=attributes)
        span.end(int((end + to_epoch) * 1e9))
        return _exemplar(span)

    def close(self) -> None:
        """Export the remaining spans and stop serving metrics."""
        if self._metrics is not None:
            self._metrics.shutdown()
            self._metrics.server_close()
        self.exposition.close()
        if self._provider is not None:
            self._provider.shutdown()


def _parent(metadata: Mapping[str, str]) -> Context:
    """The caller's trace; headers longer than the W3C requires a service to propagate are ignored."""
    given = {key: metadata.get(key, "") for key in ("traceparent", "tracestate")}
    bounded = {key: value for key, value in given.items() if value and len(value) <= MAX_TRACE_CHARACTERS}
    return _PROPAGATOR.extract(bounded)


def _exemplar(span: trace.Span) -> Exemplar | None:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}"} if context.trace_flags.sampled else None


def _disk(folder: Path, what: Literal["total", "free"]) -> float:
    """Bytes of the file system that holds a folder, or would hold it if the folder existed."""
    usage = shutil.disk_usage(next(place for place in (folder, *folder.absolute().parents) if place.exists()))
    return float(getattr(usage, what))


def inject(metadata: dict[str, str]) -> None:
    """Add the current trace to the metadata as a W3C `traceparent`."""
    _PROPAGATOR.inject(metadata)
