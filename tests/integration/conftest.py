"""One running fleet of fakes over real gRPC, shared by every integration test."""

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from PIL import Image

from fleet.temporary import TemporaryFleet, new_home, running
from servekit.media.audio_encoder import encode_audio
from tests.conftest import receiving
from tests.watching import responsive

# Slow enough that a client can leave and a process can die in the middle of an answer.
TOKEN_SECONDS = 0.02


class Spans(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP receiver: every span with the process that sent it."""

    def __init__(self) -> None:
        self.received: list[tuple[str, Span]] = []

    def Export(self, request, context):
        for resource in request.resource_spans:
            (process,) = (row.value.string_value for row in resource.resource.attributes if row.key == "service.name")
            self.received += [(process, span) for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(scope="session")
def spans() -> Iterator[Spans]:
    spans = Spans()
    with receiving(spans) as spans.endpoint:
        yield spans


@pytest.fixture(scope="session")
def fleet(spans: Spans) -> Iterator[TemporaryFleet]:
    settings = {
        "POLYPHONY_OTLP_ENDPOINT": spans.endpoint,
        "POLYPHONY_GENERATION_MODEL_OPTIONS": f'{{"latency_seconds": {TOKEN_SECONDS}}}',
        "POLYPHONY_GATEWAY_MAX_IMAGE_BYTES": str(4 << 20),
    }
    with new_home() as home, running(home, "--profile", "fake", **settings) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def http(fleet: TemporaryFleet) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=fleet.address("gateway"), timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def gateway_metrics(fleet: TemporaryFleet) -> str:
    """The address of the gateway's metrics."""
    return fleet.address("gateway", "metrics")


@pytest.fixture(scope="module", autouse=True)
def gateway_responsive(gateway_metrics: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a file whose requests hold the event loop of the gateway: all other callers would wait."""
    with responsive(gateway_metrics, request.node.name):
        yield


def picture(seed: int = 0) -> bytes:
    """A picture in which the fake reader finds two lines, others for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (32, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def recording(seconds: float = 1.0) -> bytes:
    """A recording in which the fake transcriber hears words."""
    sound = 0.25 * np.sin(np.arange(int(16_000 * seconds)) / 20, dtype=np.float32)
    return encode_audio(sound, "audio/wav", 16_000)
