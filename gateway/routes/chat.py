"""`/v1/chat/completions`: the composed chat in OpenAI's wire format."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal

from msgspec import UNSET, UnsetType
from polyphony.type.v1.media_pb2 import Media
from starlette.responses import Response

from gateway.field_names import rename_fields
from gateway.formats.chat_request import FIELD_NAMES, parse_request
from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import Comment, EventStream, json_response
from gateway.media.resolver import InlineSource
from gateway.pipelines.answer import AnswerAudio, AnswerDelta, AnswerEvent, AnswerFinished
from gateway.records.rows import fresh_id, now
from gateway.schemas.chat import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    ChunkDelta,
    Polyphony,
    SpokenMessage,
    StepEnded,
    StreamOptions,
    Usage,
)
from gateway.schemas.report import Step
from servekit.errors import Unavailable


async def create_completion(context: HandlerContext) -> Response:
    """Generate the answer to a conversation, whole or streamed."""
    state = context.state
    body = await read_json(context.body, ChatRequest, state.settings.max_chat_body_bytes)

    async def resolve(source: InlineSource, kind: Literal["image", "audio"], field: str) -> Media:
        limit = state.settings.max_image_bytes if kind == "image" else state.settings.max_audio_bytes
        return await state.media_resolver.resolve(source, context.caller.tenant, limit, field)

    events = _in_wire_names(state.chat.run(await parse_request(body, resolve), context.caller))
    wire = _Wire(body, state.models.resolve("generate_text", body.model, context.caller))
    return EventStream(wire.chunks(events)) if body.stream else json_response(await wire.whole(events))


async def _in_wire_names(events: AsyncGenerator[AnswerEvent]) -> AsyncGenerator[AnswerEvent]:
    """The events; an error among them names the field of the wire format that is at fault."""
    with rename_fields(**FIELD_NAMES):
        async with aclosing(events):
            async for event in events:
                yield event


class _Wire:
    """The events of an answer in OpenAI's wire format."""

    def __init__(self, body: ChatRequest, model: str) -> None:
        self._id, self._created, self._model = fresh_id("chatcmpl-"), now(), model
        self._audio_id = fresh_id("audio_")
        options = body.stream_options or StreamOptions()
        self._wants_usage, self._wants_steps = options.include_usage, options.include_steps

    async def whole(self, events: AsyncGenerator[AnswerEvent]) -> ChatCompletion:
        """The complete answer."""
        text, audio = "", list[bytes]()
        async with aclosing(events):
            async for event in events:
                if isinstance(event, AnswerDelta):
                    text += event.text
                elif isinstance(event, AnswerAudio):
                    audio.append(event.data)
                elif isinstance(event, AnswerFinished):
                    message = AnswerMessage(text)
                    if audio and "synthesize" not in event.degraded:
                        data = base64.b64encode(b"".join(audio)).decode()
                        message.audio = SpokenMessage(self._audio_id, data, text, now())
                    choice = Choice(message, event.reason)
                    usage, polyphony = _usage(event), _polyphony(event)
                    return ChatCompletion(self._id, self._created, event.model, [choice], usage, polyphony)
        raise Unavailable("the answer ended before its final event", retry_after=1.0)

    async def chunks(self, events: AsyncGenerator[AnswerEvent]) -> AsyncGenerator[ChatChunk | Comment]:
        """Steps as they end, text and audio as they are made, and at the end how the answer was composed.

        A step is a comment, which clients skip, or a chunk without choices where `include_steps` asks for it.
        """
        role: str | UnsetType = "assistant"
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Step):
                    ended = StepEnded(event)
                    yield self._step_chunk(ended) if self._wants_steps else Comment(ended)
                elif isinstance(event, AnswerDelta):
                    yield self._chunk(ChunkDelta(role, event.text))
                    role = UNSET
                elif isinstance(event, AnswerAudio):
                    data = base64.b64encode(event.data).decode()
                    yield self._chunk(ChunkDelta(audio=SpokenMessage(self._audio_id, data)))
                elif isinstance(event, AnswerFinished):
                    last = self._chunk(ChunkDelta(), event.reason)
                    if not self._wants_usage:
                        last.polyphony = _polyphony(event)
                        yield last
                    else:
                        yield last
                        yield ChatChunk(self._id, self._created, self._model, [], _usage(event), _polyphony(event))

    def _step_chunk(self, ended: StepEnded) -> ChatChunk:
        return ChatChunk(self._id, self._created, self._model, [], polyphony=ended)

    def _chunk(self, delta: ChunkDelta, reason: str | None = None) -> ChatChunk:
        return ChatChunk(self._id, self._created, self._model, [ChunkChoice(delta, reason)])


def _usage(finished: AnswerFinished) -> Usage:
    prompt, completion = finished.prompt_tokens, finished.completion_tokens
    return Usage(prompt, completion, prompt + completion)


def _polyphony(finished: AnswerFinished) -> Polyphony:
    models = list(dict.fromkeys(step.model for step in finished.steps if step.model and not step.error))
    return Polyphony(
        list(finished.steps),
        finished.seconds,
        models,
        list(finished.sources),
        list(finished.degraded),
        finished.prompt_version,
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/chat/completions",
        "createChatCompletion",
        create_completion,
        "Create chat completion",
        rpc="polyphony.gateway.v1.GatewayService/Chat",
        body=ChatRequest,
        answer=ChatCompletion,
    ),
)
