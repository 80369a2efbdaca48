"""`GenerateText`: the next message of a conversation, token by token."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from polyphony.generation.v1 import generation_pb2 as pb

from servekit.chat.model import ChatModel, GenerationDelta, GenerationEvent, GenerationFinished, PrefillProgress
from servekit.context import CancellationToken
from servekit.scheduling.stream import StreamScheduler, Work
from servekit.tasks.repository import Models
from services.generation.generate_text.request import parse_request
from services.generation.settings import GenerationSettings

TYPICAL_ANSWER_TOKENS = 256  # few answers use all the tokens that they may have
PROMPT_TOKEN_COST = 0.25  # the cost of a token of the prompt; a generated one costs 1
BYTES_PER_TOKEN = 4  # UTF-8, of common languages
REASONS = {"stop": pb.TextFinished.REASON_STOP, "length": pb.TextFinished.REASON_LENGTH}


class TextGeneration:
    """Generates text.

    Args:
        models: The chat models.
        settings: The limits of a request.
    """

    def __init__(self, models: Models[StreamScheduler[ChatModel]], settings: GenerationSettings) -> None:
        self._models = models
        self._settings = settings

    async def generate_text(self, request: pb.GenerateTextRequest) -> AsyncGenerator[pb.GenerateTextResponse, None]:
        """Generate one text.

        Raises:
            NotFound: There is no such model.
            InvalidArgument: A field is out of its range, or the model does not take a part.
            Overloaded: The queue is full.
        """
        async with self._models.acquire(request.model) as scheduler:
            options = parse_request(request, scheduler.spec, self._settings)

            def prepare(model: ChatModel) -> tuple[Work[ChatModel, pb.GenerateTextResponse], float]:
                prompt = model.prepare(request.messages, options)
                started = pb.TextStarted(model=scheduler.spec.id, truncated_parts=prompt.truncated_parts)

                def generate(model: ChatModel, cancellation: CancellationToken) -> Iterator[pb.GenerateTextResponse]:
                    yield pb.GenerateTextResponse(started=started)
                    yield from map(_response, model.generate(prompt, cancellation))

                return generate, _cost(prompt.tokens, prompt.options.max_tokens)

            async with aclosing(scheduler.stream_prepared(prepare, _estimated_cost(request))) as responses:
                async for response in responses:
                    yield response


def _cost(prompt_tokens: int, max_tokens: int) -> float:
    """The expected cost of a generation, in generated tokens; a `max_tokens` of 0 means as many as fit."""
    return PROMPT_TOKEN_COST * prompt_tokens + min(max_tokens or TYPICAL_ANSWER_TOKENS, TYPICAL_ANSWER_TOKENS)


def _estimated_cost(request: pb.GenerateTextRequest) -> float:
    """The cost by the bytes of the prompt, before it is tokenised."""
    tokens = 0
    for part in (part for message in request.messages for part in message.parts):
        estimate = len(part.text.encode()) // BYTES_PER_TOKEN + 1
        tokens += min(estimate, part.max_tokens or estimate)
    return _cost(tokens, request.max_tokens)


def _response(event: GenerationEvent) -> pb.GenerateTextResponse:
    match event:
        case GenerationDelta(text):
            return pb.GenerateTextResponse(delta=text)
        case PrefillProgress(processed, total):
            progress = pb.PromptProgress(processed_tokens=processed, total_tokens=total)
            return pb.GenerateTextResponse(progress=progress)
        case GenerationFinished(reason, prompt_tokens, completion_tokens):
            usage = pb.TokenUsage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
            return pb.GenerateTextResponse(finished=pb.TextFinished(reason=REASONS[reason], usage=usage))
