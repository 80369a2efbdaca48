"""The generation service: what each RPC does."""

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
from servekit.scheduling.stream import StreamScheduler, Work
from services.generation.generate_text import (
    RUNTIMES,
    Delta,
    Event,
    Finished,
    Progress,
    Prompt,
    TextGenerator,
    prompts,
)
from services.generation.settings import GenerationSettings

TYPICAL_ANSWER_TOKENS = 256  # few answers use all that they may
PROMPT_TOKEN_COST = 0.25  # the cost of a token that is read, where a written one costs 1
BYTES_PER_TOKEN = 4  # UTF-8, of common languages
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

        def prepare(model: TextGenerator) -> tuple[Work[TextGenerator, pb.GenerateTextResponse], float]:
            prepared = model.prepare(prompt)
            started = pb.TextStarted(model=scheduler.spec.id, truncated_parts=prepared.truncated)

            def write(model: TextGenerator, cancellation: CancellationToken) -> Iterator[pb.GenerateTextResponse]:
                yield pb.GenerateTextResponse(started=started)
                yield from map(_response, model.generate(prepared, cancellation))

            return write, _cost(prepared.tokens, prepared.prompt.max_tokens)

        async with aclosing(scheduler.stream_prepared(prepare, _estimated_cost(prompt))) as responses:
            async for response in responses:
                yield response


def _cost(prompt_tokens: int, max_tokens: int) -> float:
    """The cost of a text in written tokens; 0 `max_tokens` are as many as fit."""
    return PROMPT_TOKEN_COST * prompt_tokens + min(max_tokens or TYPICAL_ANSWER_TOKENS, TYPICAL_ANSWER_TOKENS)


def _estimated_cost(prompt: Prompt) -> float:
    """The cost by the bytes of the prompt, before it is tokenised."""
    tokens = 0
    for part in (part for turn in prompt.turns for part in turn.parts):
        estimate = len(part.text.encode()) // BYTES_PER_TOKEN + 1
        tokens += min(estimate, part.max_tokens or estimate)
    return _cost(tokens, prompt.max_tokens)


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
