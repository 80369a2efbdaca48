"""Telemetry: one trace from client to engine, and logs that name it."""

import asyncio
import gc
import io
import json
import logging
import shutil
import time

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc
from prometheus_client.openmetrics import exposition as openmetrics

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import Internal
from servekit.models.catalogue import ModelSpec
from servekit.ops.logs import configure_logging
from servekit.ops.telemetry import Telemetry, inject
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository
from tests.conftest import receiving
from tests.unit.servekit.conftest import READ, VISION, Doubler

SPEC = ModelSpec(id="m", task="embed", services=("retrieval",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP receiver that keeps what it is sent."""

    def __init__(self):
        self.spans = {}

    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.update({span.name: span for span in scope.spans})
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector():
    collector = Collector()
    with receiving(collector) as collector.endpoint:
        yield collector


@pytest.fixture
def logged():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()

    def configure(settings):
        configure_logging(settings)
        root.handlers[0].setStream(stream)

    yield configure, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_one_trace_from_the_client_to_the_engine(serve, dial, scripted, settings, collector, logged):
    configure, lines = logged
    configure(settings)

    async def build(settings, telemetry):
        plain = await scripted.build(settings, telemetry)
        scripted.scheduler = BatchScheduler(SPEC, [Doubler()], telemetry, max_batch_cost=4, max_queue_cost=4)
        return ServiceSpec(scripted, plain.services, models=ModelRepository([LoadedModel(scripted.scheduler)]))

    async def read():
        logging.getLogger("test").warning("größer als %d", 3)
        return vision_pb2.ReadTextResponse(width=await scripted.scheduler.submit(21))

    scripted.read = read
    traced = settings.model_copy(update={"otlp_endpoint": collector.endpoint})
    server = await serve(traced, build)
    client = Telemetry(traced)
    stub = vision_pb2_grpc.VisionServiceStub(dial(server, VISION))
    enter(RequestContext("acme", "request-7", CancellationToken()))
    with client.server_span("client", {}):
        assert (await stub.ReadText(READ)).width == 42
        trace_id = trace.get_current_span().get_span_context().trace_id

        async def bug():
            raise ValueError("secret")

        scripted.read = bug
        with pytest.raises(Internal):
            await stub.ReadText(READ)
    await asyncio.to_thread(client.close)
    await asyncio.to_thread(scripted.telemetry._provider.force_flush)
    spans = collector.spans
    assert {"client", "VisionService/ReadText", "queue", "engine"} <= spans.keys()
    assert {span.trace_id for span in spans.values()} == {trace_id.to_bytes(16, "big")}
    assert spans["VisionService/ReadText"].parent_span_id == spans["client"].span_id
    assert spans["queue"].parent_span_id == spans["engine"].parent_span_id
    assert spans["engine"].parent_span_id != spans["client"].span_id
    attributes = {entry.key: entry.value for entry in spans["engine"].attributes}
    assert (attributes["model"].string_value, attributes["batch_size"].int_value) == ("m", 1)
    said = {line["message"]: line for line in lines()}
    for message in ("größer als 3", "VisionService/ReadText failed"):
        assert said[message]["trace_id"] == f"{trace_id:032x}"
        assert (said[message]["request_id"], said[message]["tenant"]) == ("request-7", "acme")
    assert "secret" in said["VisionService/ReadText failed"]["exception"]


async def test_latencies_name_a_sampled_trace_and_only_that(settings, collector):
    unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    for ratio, header, named in ((1.0, {}, True), (0.0, {}, False), (1.0, {"traceparent": unsampled}, False)):
        update = {"otlp_endpoint": collector.endpoint, "otlp_sample_ratio": ratio}
        telemetry = Telemetry(settings.model_copy(update=update))
        scheduler = BatchScheduler(SPEC, [Doubler()], telemetry, max_batch_cost=4, max_queue_cost=4)
        await scheduler.start()
        with telemetry.server_span("call", header):
            assert await scheduler.submit(21) == 42
            trace_id = trace.get_current_span().get_span_context().trace_id
            telemetry.request_duration.labels("call").observe(0.1, telemetry.exemplar())
        await scheduler.close()
        text = openmetrics.generate_latest(telemetry.registry).decode()
        for name in (
            "polyphony_request_duration_seconds",
            "polyphony_queue_duration_seconds",
            "polyphony_inference_duration_seconds",
        ):
            lines = [line for line in text.splitlines() if line.startswith(f"{name}_bucket") and " # " in line]
            assert [f'# {{trace_id="{trace_id:032x}"}}' in line for line in lines] == [True] * named
        await asyncio.to_thread(telemetry.close)


def test_without_traces_nothing_is_named(settings):
    telemetry = Telemetry(settings)
    assert telemetry.exemplar() is None
    assert telemetry.past_span("queue", Context(), 0.0, 1.0) is None


def test_the_disks_of_folders_that_are_not_there_yet_are_known(settings):
    value = Telemetry(settings.model_copy(update={"object_store": "s3://bucket/prefix"})).registry.get_sample_value
    usage = shutil.disk_usage(settings.home)
    assert value("polyphony_filesystem_size_bytes", {"folder": "models"}) == usage.total
    assert 0 < value("polyphony_filesystem_avail_bytes", {"folder": "models"}) <= usage.total
    assert value("polyphony_filesystem_size_bytes", {"folder": "objects"}) is None
    assert (
        Telemetry(settings).registry.get_sample_value("polyphony_filesystem_size_bytes", {"folder": "objects"})
        == usage.total
    )


async def test_a_model_says_what_it_took_and_how_many_engines_it_has(serve, scripted, settings):
    async def build(settings, telemetry):
        plain = await scripted.build(settings, telemetry)
        scheduler = BatchScheduler(SPEC, [Doubler(), Doubler()], telemetry, max_batch_cost=4, max_queue_cost=4)
        return ServiceSpec(scripted, plain.services, models=ModelRepository([LoadedModel(scheduler)]))

    await serve(settings, build)
    value = scripted.telemetry.registry.get_sample_value
    assert value("polyphony_engines", {"model": "m"}) == 2
    assert value("polyphony_model_load_duration_seconds", {"model": "m"}) > 0


async def test_a_collector_that_is_not_there_holds_nothing_up(serve, dial, scripted, settings):
    server = await serve(settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:1"}), scripted.build)
    await vision_pb2_grpc.VisionServiceStub(dial(server, VISION)).ReadText(READ)
    began = time.monotonic()
    await asyncio.to_thread(scripted.telemetry.close)
    assert time.monotonic() - began < 5


def test_logs_are_one_object_a_line(settings, logged):
    configure, lines = logged
    configure(settings)
    log = logging.getLogger("test")
    log.info("two\nlines")
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("it %s", "failed")
    first, second = lines()
    assert (first["message"], first["level"], first["logger"]) == ("two\nlines", "INFO", "test")
    assert "trace_id" not in first
    assert second["exception"].startswith("ValueError\n")  # its text may quote a request


@pytest.mark.parametrize("letter", ["A", "\0", '"', "語"])
def test_a_line_is_bounded_and_has_no_text_of_an_error_that_may_quote_a_request(settings, logged, letter):
    configure, lines = logged
    configure(settings)
    log, content = logging.getLogger("test"), letter * 1_000_000
    enter(RequestContext(tenant=content, request_id=content))

    def nested(depth):
        if depth:
            nested(depth - 1)
        raise KeyError(content)

    try:
        try:
            nested(40)
        except KeyError as error:
            raise OSError(f"no space: {content}") from error
    except OSError:
        log.exception("it failed: %s", content)
    enter(RequestContext())
    (line,) = lines()
    assert max(len(json.dumps(line, ensure_ascii=False).encode()), len(line["message"].encode())) < 8192
    assert line["exception"].startswith("OSError: no space: ")
    assert "\ncaused by KeyError\n" in line["exception"]
    assert letter * 400 not in line["exception"]


async def test_a_failed_span_names_the_class_of_its_error_alone(settings, collector):
    telemetry = Telemetry(settings.model_copy(update={"otlp_endpoint": collector.endpoint}))
    with pytest.raises(ValueError, match="secret"), telemetry.server_span("GET /", {}):
        raise ValueError("a secret")
    await asyncio.to_thread(telemetry.close)
    span = collector.spans["GET /"]
    assert (span.status.message, list(span.events)) == ("ValueError", [])


def test_headers_of_a_trace_are_bounded(settings, collector):
    telemetry = Telemetry(settings.model_copy(update={"otlp_endpoint": collector.endpoint}))
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    states = {"short": "a=b", "long": ",".join(f"k{number}={'v' * 200}" for number in range(20))}
    passed_on = {}
    for name, state in states.items():
        with telemetry.server_span(name, {"traceparent": parent, "tracestate": state, "baggage": "k=v"}):
            passed_on[name] = {}
            inject(passed_on[name])
    telemetry.close()
    assert all(metadata["traceparent"].startswith(f"00-{'1' * 32}") for metadata in passed_on.values())
    assert [metadata.get("tracestate") for metadata in passed_on.values()] == ["a=b", None]
    assert all("baggage" not in metadata for metadata in passed_on.values())


async def test_an_exception_that_nobody_retrieved_is_logged_without_its_text(settings, logged):
    configure, lines = logged
    configure(settings)

    async def fail():
        raise KeyError("a secret")

    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    (line,) = lines()
    assert line["message"] == "Task exception was never retrieved"
    assert line["exception"].startswith("KeyError\n")
    assert "a secret" not in line["exception"].replace('raise KeyError("a secret")', "")
