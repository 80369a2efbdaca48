"""The vision service: what each RPC does."""

from polyphony.type.v1.bounding_box_pb2 import BoundingBox
from polyphony.vision.v1 import vision_pb2 as pb
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceServicer

from servekit.media.objects import ObjectStore
from servekit.models.loading import load_models
from servekit.models.repository import Models
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import current
from servekit.rpc.errors import InvalidArgument
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.batch import BatchScheduler
from services.vision.read_text import Line, Page
from services.vision.settings import VisionSettings
from services.vision.tasks import tasks

DEFAULT_CONFIDENCE = 0.5
BYTES_A_MEGAPIXEL = 400_000  # of a typical image file: its cost is guessed before it is decoded


class VisionService(VisionServiceServicer):
    """`polyphony.vision.v1.VisionService`.

    Args:
        readers: The models that read text.
        store: The object store of media that requests refer to.
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
            raise InvalidArgument(
                f"min_confidence must be in [0, 1], got {request.min_confidence:g}", field="min_confidence"
            )
        async with self._readers.acquire(request.model) as scheduler:
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
    """Load the profile's models, and build what serves them.

    Raises:
        FailedPrecondition: See `load_models`.
    """
    models = await load_models(tasks(settings), settings, telemetry)
    return ServiceSpec(
        servicer=VisionService(models["read_text"], ObjectStore(settings.object_store_url), settings),
        services=[pb.DESCRIPTOR.services_by_name["VisionService"]],
        models=models,
    )
