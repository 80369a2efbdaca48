"""The generation service: what each RPC does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

from polyphony.generation.v1 import generation_pb2 as pb
from polyphony.generation.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)

from servekit.models.loading import Models, load, specs
from servekit.ops.telemetry import Telemetry
from servekit.rpc.context import CancellationToken
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.stream import StreamScheduler
from services.generation.generate_text import (
    RUNTIMES,
    Delta,
    Event,
    Finished,
    Prepared,
    Progress,
    TextGenerator,
    prompts,
)
from services.generation.settings import GenerationSettings

TYPICAL_ANSWER_TOKENS = 256  # few answers use all that they may
READING = 0.25  # what a token of the prompt takes, by one that is written
REASONS = {"stop": pb.TextFinished.REASON_STOP, "length": pb.TextFinished.REASON_LENGTH}


class GenerationService(GenerationServiceServicer):
    """`polyphony.generation.v1.GenerationService`.

    Args:
        generators: The schedulers that write text.
        settings: The limits of a request.
    """

    def __init__(self, generators: Models[StreamScheduler[TextGenerator]], settings: GenerationSettings) -> None:
        self._generators = generators
        self._settings = settings

    async def GenerateText(
        self, request: pb.GenerateTextRequest, context: object
    ) -> AsyncIterator[pb.GenerateTextResponse]:
        scheduler = self._generators.get(request.model)
        prompt = prompts.read(request, self._settings)
        prepared = await asyncio.to_thread(scheduler.model.prepare, prompt)
        started = pb.TextStarted(model=scheduler.spec.id, truncated_parts=prepared.truncated)

        def write(model: TextGenerator, cancellation: CancellationToken) -> Iterator[pb.GenerateTextResponse]:
            yield pb.GenerateTextResponse(started=started)
            yield from map(_response, model.generate(prepared, cancellation))

        async with aclosing(scheduler.stream(write, _cost(prepared))) as responses:
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


async def build(settings: GenerationSettings, telemetry: Telemetry) -> ServiceSpec:
    """Load the profile's models and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing or broken, or need more memory than is allowed.
    """
    schedulers: list[StreamScheduler[TextGenerator]] = []
    for spec in specs(settings, "generation", telemetry):
        model: TextGenerator = await load(spec, settings, RUNTIMES, telemetry)
        schedulers.append(
            StreamScheduler(spec, [model] * settings.slots, telemetry, max_queue_cost=settings.max_queue_tokens)
        )
    return ServiceSpec(
        add=add_GenerationServiceServicer_to_server,
        servicer=GenerationService(Models(schedulers), settings),
        descriptor=pb.DESCRIPTOR.services_by_name["GenerationService"],
        schedulers=schedulers,
    )
