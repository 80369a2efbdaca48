"""A process with a unary and a streaming method that tests script; a scheduler that doubles numbers; media helpers."""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Sequence

import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image
from polyphony.speech.v1 import synthesis_pb2, synthesis_pb2_grpc, transcription_pb2, transcription_pb2_grpc
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1 import vision_pb2, vision_pb2_grpc

from servekit.context import CancellationToken
from servekit.errors import EngineCrashed, InvalidArgument, OutOfMemory, ServeError, Unimplemented
from servekit.media.objects import ObjectStore
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.stream import StreamScheduler

VISION = "polyphony.vision.v1.VisionService"
SYNTHESIS = "polyphony.speech.v1.SynthesisService"
TRANSCRIPTION = "polyphony.speech.v1.TranscriptionService"


def picture(kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


READ = vision_pb2.ReadTextRequest(image=Media(inline=picture(), mime_type="image/png"))
SPEAK = synthesis_pb2.SynthesizeRequest(text="hello")
FIELD = "messages[0].content[1]"
DOUBLER = ModelSpec(
    id="doubler", task="embed", services=("retrieval",), runtime="test", title="Doubles", licence="CC0-1.0", memory_mb=1
)
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return (await stub.Check(health_pb2.HealthCheckRequest(service=service))).status


async def until_health_is(channel, status):
    for _ in range(400):
        if await health_of(channel) == status:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"health is never {status}")


def assert_typed(decode: Callable[[], object]) -> None:
    """It works, or it says which field is at fault."""
    try:
        decode()
    except InvalidArgument as error:
        field = error.field
    else:
        field = FIELD
    assert field == FIELD


class Scripted(
    vision_pb2_grpc.VisionServiceServicer,
    synthesis_pb2_grpc.SynthesisServiceServicer,
    transcription_pb2_grpc.TranscriptionServiceServicer,
):
    """`read` answers ReadText, `speak` yields what Synthesize sends; Transcribe stays unimplemented.

    StreamingTranscribe is refused, or with `listens` heard to its end before anything is said.
    """

    listens = False

    async def read(self):
        return vision_pb2.ReadTextResponse(width=1)

    async def speak(self):
        yield synthesis_pb2.SynthesizeResponse(chunk=b"1")

    async def ReadText(self, request, context):
        return await self.read()

    async def Synthesize(self, request, context):
        async for response in self.speak():
            yield response

    async def StreamingTranscribe(self, requests, context):
        if not self.listens:
            raise Unimplemented("not here")
        async for _ in requests:
            pass
        yield transcription_pb2.StreamingTranscribeResponse()

    async def build(self, settings, telemetry):
        self.telemetry = telemetry
        return ServiceSpec(
            self,
            [
                vision_pb2.DESCRIPTOR.services_by_name["VisionService"],
                synthesis_pb2.DESCRIPTOR.services_by_name["SynthesisService"],
                transcription_pb2.DESCRIPTOR.services_by_name["TranscriptionService"],
            ],
        )


@pytest.fixture
def scripted():
    return Scripted()


@pytest.fixture
def settings(tmp_path):
    return ProcessSettings(home=tmp_path, drain_timeout_seconds=2.0)


@pytest.fixture
async def server(serve, scripted, settings):
    return await serve(settings, scripted.build)


@pytest.fixture
def vision(server, dial):
    return vision_pb2_grpc.VisionServiceStub(dial(server, VISION))


@pytest.fixture
def synthesis(server, dial):
    return synthesis_pb2_grpc.SynthesisServiceStub(dial(server, SYNTHESIS))


@pytest.fixture
def transcription(server, dial):
    return transcription_pb2_grpc.TranscriptionServiceStub(dial(server, TRANSCRIPTION))


@pytest.fixture
def certificates(tmp_path):
    """`tls = certificates()`: the settings of one process, by a new authority each time, in the same files."""
    paths = {name: tmp_path / f"{name}.pem" for name in ("tls_certificate_file", "tls_key_file", "tls_ca_file")}

    def issue():
        authority = trustme.CA()
        issued = authority.issue_cert("localhost", "127.0.0.1")
        paths["tls_key_file"].write_bytes(issued.private_key_pem.bytes())
        paths["tls_certificate_file"].write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        authority.cert_pem.write_to_path(str(paths["tls_ca_file"]))
        return paths

    issue.paths = paths
    return issue


class Clock:
    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path, clock):
    return ObjectStore(str(tmp_path / "a store") if request.param == "folder" else "memory:///", clock)


class Panic(BaseException):
    """What an extension written in Rust raises: not an Exception."""


class Doubler:
    """Doubles numbers; says when a batch begins and waits until it may end."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()
        self.most = 1000
        self.gone = False
        self.broken = self.closed = False

    def warm(self) -> None:
        if self.gone:
            raise EngineCrashed("still dead")

    def close(self) -> None:
        self.closed = True

    def prepare(self, request: int) -> int:
        if request < 0:
            raise InvalidArgument("negative", field="number")
        return request

    def run(self, items: Sequence[int], cancellation: CancellationToken) -> Sequence[int | ServeError]:
        if len(items) > self.most:
            raise OutOfMemory("too many")
        if self.gone:
            raise EngineCrashed("dead")
        if self.broken:
            raise ValueError("secret")
        self.batches.append(list(items))
        self.began.release()
        assert self.may_end.wait(10)
        return [InvalidArgument("13", field="number") if item == 13 else item * 2 for item in items]


@pytest.fixture
def model():
    return Doubler()


@pytest.fixture
def telemetry():
    return Telemetry(ProcessSettings())


@pytest.fixture
async def scheduler(model, open_scheduler, virtual_clock):
    """The doubler's: batches of 8, 20 may wait; its time passes only where a test advances it."""
    yield await open_scheduler(model, max_queue_cost=20, clock=virtual_clock)
    model.may_end.set()


@pytest.fixture
async def open_scheduler(telemetry):
    opened = []

    async def open_scheduler(*models, kind=BatchScheduler, max_queue_cost=1000, **more):
        if kind is not StreamScheduler:
            more = {"max_batch_cost": 8, **more}
        scheduler = kind(DOUBLER, models, telemetry, max_queue_cost=max_queue_cost, **more)
        await scheduler.start()
        opened.append(scheduler)
        return scheduler

    yield open_scheduler
    for scheduler in opened:
        await asyncio.wait_for(scheduler.close(), 20)


@pytest.fixture
def offered(telemetry):
    """Engine seconds of a model that were offered so far."""

    def offered(model=DOUBLER.id):
        return telemetry.registry.get_sample_value("polyphony_offered_load_engine_seconds_total", {"model": model})

    return offered


@pytest.fixture
def virtual_clock():
    """A clock that a test advances; ahead of the real one, so that no deadline passes by itself."""
    return Clock(time.monotonic() + 1e6)


async def settled(*calls):
    """What became of each; fails where one hangs."""
    return await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 20)


def kinds(outcomes):
    return {type(outcome) for outcome in outcomes}


def takes(clock, seconds):
    """A run that takes so long on a virtual clock."""

    def run(items, cancellation):
        clock.now += seconds
        return [item * 2 for item in items]

    return run


async def hold(model, scheduler):
    """Occupy the engine with one item; what comes next has to wait."""
    model.may_end.clear()
    first = asyncio.ensure_future(scheduler.submit(1))
    await asyncio.to_thread(model.began.acquire)
    return first
