"""The vision service: what each RPC does."""

from polyphony.type.v1.bounding_box_pb2 import BoundingBox
from polyphony.vision.v1 import vision_pb2 as pb
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceServicer, add_VisionServiceServicer_to_server

from servekit.media.objects import ObjectStore
from servekit.models.loading import Models, load, specs
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import current
from servekit.rpc.errors import InvalidArgument
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.tensors import TensorScheduler
from services.vision.read_text import RUNTIMES, Line, Page, TextReader
from services.vision.settings import VisionSettings

DEFAULT_CONFIDENCE = 0.5
BYTES_A_MEGAPIXEL = 400_000  # of a typical image file: its cost is guessed before it is decoded


class VisionService(VisionServiceServicer):
    """`polyphony.vision.v1.VisionService`.

    Args:
        readers: The schedulers that read text.
        store: Where media that come by reference are.
        settings: The limits of a request.
    """

    def __init__(
        self, readers: Models[BatchScheduler[bytes, Page]], store: ObjectStore, settings: VisionSettings
    ) -> None:
        self._readers = readers
        self._store = store
        self._settings = settings

    async def ReadText(self, request: pb.ReadTextRequest, context: object) -> pb.ReadTextResponse:
        if not 0 <= request.min_confidence <= 1:
            raise InvalidArgument("min_confidence is between 0 and 1", field="min_confidence")
        scheduler = self._readers.get(request.model)
        data = await self._store.resolve(request.image, current().tenant, self._settings.max_image_bytes, "image")
        page = await scheduler.submit(data, len(data) / BYTES_A_MEGAPIXEL)
        least = request.min_confidence or DEFAULT_CONFIDENCE
        lines = [_line(line) for line in page.lines if line.confidence >= least]
        return pb.ReadTextResponse(lines=lines, width=page.width, height=page.height, model=scheduler.spec.id)


def _line(line: Line) -> pb.TextLine:
    left, top = (float(value) for value in line.corners.min(axis=0))
    right, bottom = (float(value) for value in line.corners.max(axis=0))
    return pb.TextLine(
        text=line.text,
        confidence=line.confidence,
        bounding_box=BoundingBox(left=left, top=top, width=right - left, height=bottom - top),
        corners=[pb.Point(x=float(x), y=float(y)) for x, y in line.corners],
    )


async def build(settings: VisionSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models and give each an engine's thread a core.

    Raises:
        FailedPrecondition: Weights are missing, or need more memory than is allowed.
    """
    readers: list[BatchScheduler[bytes, Page]] = []
    tensors: dict[str, TensorScheduler] = {}
    for spec in specs(settings, "vision", telemetry):
        reader: TextReader = await load(spec, settings, RUNTIMES, telemetry)
        readers.append(
            BatchScheduler(
                spec,
                [reader] * settings.threads,
                telemetry,
                max_batch_cost=settings.max_batch_megapixels,
                max_queue_cost=settings.max_queue_megapixels,
            )
        )
        for name, network in reader.networks.items():
            part = spec.model_copy(update={"id": f"{spec.id}-{name}"})
            tensors[part.id] = TensorScheduler(part, [network], telemetry)
    return ServiceSpec(
        add=add_VisionServiceServicer_to_server,
        servicer=VisionService(Models(readers), ObjectStore(settings.object_store_url), settings),
        descriptor=pb.DESCRIPTOR.services_by_name["VisionService"],
        schedulers=readers,
        tensors=tensors,
    )
