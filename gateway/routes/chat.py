"""`/v1/chat/completions`: the composed chat in OpenAI's wire format."""

import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from msgspec import UNSET, UnsetType
from polyphony.generation.v1.generation_pb2 import JsonObject, TextFormat
from starlette.responses import Response

from gateway.http.bodies import read_json
from gateway.http.endpoint import HandlerContext, Operation
from gateway.http.responses import Comment, EventStream, json_response
from gateway.media.resolver import FILE_PREFIX, MediaSource, decode_base64, parse_media_source
from gateway.pipelines.conversation import ChatPlan, Delta, Event, FileSearch, Finished, Medium, Sound, Spoken, Turn
from gateway.pipelines.steps import Step
from gateway.records import fresh_id, now
from gateway.schemas.chat import (
    AnswerMessage,
    AssistantMessage,
    AudioContent,
    AudioOptions,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    ChunkDelta,
    DeveloperMessage,
    FileSearchTool,
    ImageContent,
    InputAudio,
    JsonForm,
    Message,
    Polyphony,
    RefusalContent,
    SchemaForm,
    SpokenMessage,
    StepEnded,
    StreamOptions,
    SystemMessage,
    TextContent,
    Usage,
)
from gateway.schemas.speech import MIME_TYPES
from servekit.rpc.errors import InvalidArgument, Unavailable


async def create_completion(context: HandlerContext) -> Response:
    """Answer a conversation, whole or streamed."""
    state = context.state
    body = await read_json(context.request, ChatRequest, state.settings.chat_body_bytes)
    events = state.chat.run(plan_of(body), context.caller)
    wire = _Wire(body, state.models.resolve("generate_text", body.model, context.caller))
    return EventStream(wire.chunks(events)) if body.stream else json_response(await wire.whole(events))


def plan_of(body: ChatRequest) -> ChatPlan:
    """The request as the pipeline takes it.

    Raises:
        InvalidArgument: It asks for what is not done here, or a medium is not as it should be.
    """
    _refuse_unsupported(body)
    wants_sound = "audio" in (body.modalities or ())
    audio = body.audio or AudioOptions()
    return ChatPlan(
        turns=[_turn(message, f"messages[{index}]") for index, message in enumerate(body.messages)],
        model=body.model,
        max_tokens=body.max_completion_tokens or body.max_tokens or 0,
        stop=[body.stop] if isinstance(body.stop, str) else body.stop or (),
        temperature=body.temperature,
        top_p=body.top_p,
        seed=body.seed,
        format=_format(body),
        search=None if body.tool_choice == "none" else _search(body),
        spoken=Spoken(audio.voice, MIME_TYPES[audio.format]) if wants_sound else None,
    )


def _refuse_unsupported(body: ChatRequest) -> None:
    """Refuse, by name, what OpenAI knows and this does not."""
    refused = {
        "n": body.n not in (None, 1),
        "logprobs": bool(body.logprobs),
        "presence_penalty": bool(body.presence_penalty),
        "frequency_penalty": bool(body.frequency_penalty),
        "tools": any(not isinstance(tool, FileSearchTool) for tool in body.tools or ()),
    }
    for name, wrong in refused.items():
        if wrong:
            only = "only tools of type file_search are" if name == "tools" else "this is not"
            raise InvalidArgument(f"{name}: {only} supported here", field=name)
    if len(body.tools or ()) > 1:
        raise InvalidArgument("name all vector stores in one file_search tool", field="tools[1]")


def _turn(message: Message, field: str) -> Turn:
    if isinstance(message, SystemMessage | DeveloperMessage):
        return Turn("system", _parts(message.content, field))
    if isinstance(message, AssistantMessage):
        return Turn("assistant", _parts(message.content or "", field))
    return Turn("user", _parts(message.content, field))


def _parts(
    content: str | Sequence[TextContent | ImageContent | AudioContent | RefusalContent], field: str
) -> list[str | Medium]:
    if isinstance(content, str):
        return [content] if content else []
    parts: list[str | Medium] = []
    for index, part in enumerate(content):
        at = f"{field}.content[{index}]"
        if isinstance(part, TextContent):
            parts.append(part.text)
        elif isinstance(part, ImageContent):
            at = f"{at}.image_url.url"
            parts.append(Medium("image", parse_media_source(part.image_url.url, at), at))
        elif isinstance(part, AudioContent):
            at = f"{at}.input_audio.data"
            parts.append(Medium("recording", _sound(part.input_audio, at), at))
        else:
            parts.append(part.refusal)
    return parts


def _sound(audio: InputAudio, field: str) -> MediaSource:
    """A recording; plain base64 as OpenAI has it, and all that an image may be."""
    if audio.data.startswith(("data:", "http://", "https://", FILE_PREFIX)):
        return parse_media_source(audio.data, field)
    return decode_base64(audio.data, f"audio/{audio.format}", field)


def _format(body: ChatRequest) -> TextFormat | None:
    if isinstance(body.response_format, JsonForm):
        return TextFormat(json_object=JsonObject())
    if isinstance(body.response_format, SchemaForm):
        return TextFormat(json_schema=msgspec.json.encode(body.response_format.json_schema.schema).decode())
    return None


def _search(body: ChatRequest) -> FileSearch | None:
    for tool in body.tools or ():
        if isinstance(tool, FileSearchTool):
            return FileSearch(tool.vector_store_ids, tool.max_num_results or 0)
    return None


class _Wire:
    """The pipeline's events as one answer in OpenAI's shape."""

    def __init__(self, body: ChatRequest, model: str) -> None:
        self._id, self._created, self._model = fresh_id("chatcmpl-"), now(), model
        self._sound_id = fresh_id("audio_")
        options = body.stream_options or StreamOptions()
        self._wants_usage, self._wants_steps = options.include_usage, options.include_steps

    async def whole(self, events: AsyncGenerator[Event]) -> ChatCompletion:
        """The answer when it is complete."""
        text, sound = "", b""
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Delta):
                    text += event.text
                elif isinstance(event, Sound):
                    sound += event.data
                elif isinstance(event, Finished):
                    message = AnswerMessage(text)
                    if sound and "synthesize" not in event.degraded:
                        data = base64.b64encode(sound).decode()
                        message.audio = SpokenMessage(self._sound_id, data, text, now())
                    choice = Choice(message, event.reason)
                    usage, polyphony = _usage(event), _polyphony(event)
                    return ChatCompletion(self._id, self._created, event.model, [choice], usage, polyphony)
        raise Unavailable("the answer broke off", retry_after=1.0)

    async def chunks(self, events: AsyncGenerator[Event]) -> AsyncGenerator[ChatChunk | Comment]:
        """Steps as they end, text and audio as they are made, and at the end how the answer came about.

        A step is a comment, which clients skip, or a chunk without choices where `include_steps` asks for it.
        """
        role: str | UnsetType = "assistant"
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Step):
                    ended = StepEnded(event)
                    yield self._step_chunk(ended) if self._wants_steps else Comment(ended)
                elif isinstance(event, Delta):
                    yield self._chunk(ChunkDelta(role, event.text))
                    role = UNSET
                elif isinstance(event, Sound):
                    data = base64.b64encode(event.data).decode()
                    yield self._chunk(ChunkDelta(audio=SpokenMessage(self._sound_id, data)))
                elif isinstance(event, Finished):
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


def _usage(finished: Finished) -> Usage:
    prompt, completion = finished.prompt_tokens, finished.completion_tokens
    return Usage(prompt, completion, prompt + completion)


def _polyphony(finished: Finished) -> Polyphony:
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
