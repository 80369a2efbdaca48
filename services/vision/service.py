"""The vision service: its RPCs, and what does each."""

from polyphony.vision.v1 import vision_pb2 as pb
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceServicer

from servekit.media.objects import ObjectStore
from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from servekit.tasks.loading import load_models
from servekit.tasks.repository import ModelRepository
from services.vision.read_text.read_text import TextRecognition
from services.vision.settings import VisionSettings
from services.vision.tasks import tasks


class VisionService(VisionServiceServicer):
    """`polyphony.vision.v1.VisionService`.

    Args:
        models: The process's models.
        settings: The limits of a request.
    """

    def __init__(self, models: ModelRepository, settings: VisionSettings) -> None:
        store = ObjectStore(settings.object_store_url)
        self._text_recognition = TextRecognition(models["read_text"], store, settings)

    async def ReadText(self, request: pb.ReadTextRequest, context: object) -> pb.ReadTextResponse:
        return await self._text_recognition.read_text(request)


async def build(settings: VisionSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models, and build what serves them.

    Raises:
        FailedPrecondition: See `load_models`.
    """
    models = await load_models(tasks(settings), settings, telemetry)
    return ServiceSpec(
        servicer=VisionService(models, settings),
        services=[pb.DESCRIPTOR.services_by_name["VisionService"]],
        models=models,
    )
