"""The generation service: what each RPC does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from polyphony.generation.v1 import generation_pb2 as pb
from polyphony.generation.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)

from servekit.call import Flag
from servekit.models import Models, cards, load
from servekit.server import Deployment
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry
from services.generation import prompts
from services.generation.models import LOADERS, Delta, Event, Finished, Prepared, Progress, TextGenerator
from services.generation.settings import GenerationSettings

TYPICAL_ANSWER_TOKENS = 256  # few answers use all that they may
READING = 0.25  # what a token of the prompt takes, by one that is written
REASONS = {"stop": pb.TextFinished.REASON_STOP, "length": pb.TextFinished.REASON_LENGTH}


class GenerationService(GenerationServiceServicer):
    """`polyphony.generation.v1.GenerationService`.

    Args:
        generators: The lanes that write text.
        settings: The limits of a request.
    """

    def __init__(self, generators: Models[StreamLane[TextGenerator]], settings: GenerationSettings) -> None:
        self._generators = generators
        self._settings = settings

    async def GenerateText(
        self, request: pb.GenerateTextRequest, context: object
    ) -> AsyncIterator[pb.GenerateTextResponse]:
        lane = self._generators.get(request.model)
        prompt = prompts.read(request, self._settings)
        prepared = await asyncio.to_thread(lane.model.prepare, prompt)
        started = pb.TextStarted(model=lane.card.id, truncated_parts=prepared.truncated)

        def write(model: TextGenerator, flag: Flag) -> Iterator[pb.GenerateTextResponse]:
            yield pb.GenerateTextResponse(started=started)
            yield from map(_response, model.generate(prepared, flag))

        async with aclosing(lane.stream(write, _cost(prepared))) as responses:
            async for response in responses:
                yield response


def _cost(prepared: Prepared) -> float:
    """In tokens written."""
    return READING * prepared.tokens + min(prepared.prompt.max_tokens, TYPICAL_ANSWER_TOKENS)


def _response(event: Event) -> pb.GenerateTextResponse:
    match event:
        case Delta(text):
            return pb.GenerateTextResponse(delta=text)
        case Progress(processed, total):
            progress = pb.PromptProgress(processed_tokens=processed, total_tokens=total)
            return pb.GenerateTextResponse(progress=progress)
        case Finished(reason, read, written):
            usage = pb.TokenUsage(prompt_tokens=read, completion_tokens=written)
            return pb.GenerateTextResponse(finished=pb.TextFinished(reason=REASONS[reason], usage=usage))


async def build(settings: GenerationSettings, telemetry: Telemetry) -> Deployment:
    """Load the profile's models and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing or broken, or need more memory than is allowed.
    """
    lanes: list[StreamLane[TextGenerator]] = []
    for card in cards(settings, "generation", telemetry):
        model: TextGenerator = await load(card, settings, LOADERS, telemetry)
        lanes.append(StreamLane(card, [model] * settings.slots, telemetry, max_queue_cost=settings.max_queue_tokens))
    return Deployment(
        add=add_GenerationServiceServicer_to_server,
        servicer=GenerationService(Models(lanes), settings),
        descriptor=pb.DESCRIPTOR.services_by_name["GenerationService"],
        lanes=lanes,
    )
