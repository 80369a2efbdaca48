"""The generation service: its RPCs, and what does each."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from polyphony.generation.v1 import generation_pb2 as pb
from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceServicer

from servekit.ops.telemetry import Telemetry
from servekit.rpc.server import ServiceSpec
from servekit.tasks.loading import load_models
from servekit.tasks.repository import ModelRepository
from services.generation.generate_text.generate_text import TextGeneration
from services.generation.settings import GenerationSettings
from services.generation.tasks import tasks


class GenerationService(GenerationServiceServicer):
    """`polyphony.generation.v1.GenerationService`.

    Args:
        models: The process's models.
        settings: The limits of a request.
    """

    def __init__(self, models: ModelRepository, settings: GenerationSettings) -> None:
        self._text_generation = TextGeneration(models["generate_text"], settings)

    async def GenerateText(
        self, request: pb.GenerateTextRequest, context: object
    ) -> AsyncIterator[pb.GenerateTextResponse]:
        async with aclosing(self._text_generation.generate_text(request)) as responses:
            async for response in responses:
                yield response


async def build(settings: GenerationSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models, and build what serves them.

    Raises:
        FailedPrecondition: See `load_models`.
    """
    models = await load_models(tasks(settings), settings, telemetry)
    return ServiceSpec(
        servicer=GenerationService(models, settings),
        services=[pb.DESCRIPTOR.services_by_name["GenerationService"]],
        models=models,
    )
