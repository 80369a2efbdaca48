"""The composed chat for internal systems: the same pipeline, over gRPC."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import grpc
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceServicer
from polyphony.generation.v1.generation_pb2 import JsonObject, TextFormat
from polyphony.type.v1.media_pb2 import Media

from gateway.app_state import AppState
from gateway.auth import Caller
from gateway.pipelines.conversation import ChatPlan, Delta, Event, FileSearch, Medium, Sound, Spoken, Turn
from gateway.pipelines.prompt import Role
from gateway.pipelines.steps import Step
from servekit.rpc.context import current, enter
from servekit.rpc.errors import InvalidArgument

_ROLES: dict[int, Role] = {
    pb.ChatMessage.ROLE_SYSTEM: "system",
    pb.ChatMessage.ROLE_USER: "user",
    pb.ChatMessage.ROLE_ASSISTANT: "assistant",
}


class GatewayService(GatewayServiceServicer):
    """The servicer.

    Args:
        state: What the handlers share: settings, clients, stores and pipelines.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def Chat(
        self, request: pb.ChatRequest, context: grpc.aio.ServicerContext[pb.ChatRequest, pb.ChatResponse]
    ) -> AsyncIterator[pb.ChatResponse]:
        """Answer a conversation, event by event."""
        caller = self._caller(context)
        async with aclosing(self._state.chat.run(plan_of(request), caller)) as events:
            async for event in events:
                yield _response(event)

    def _caller(self, context: grpc.aio.ServicerContext[pb.ChatRequest, pb.ChatResponse]) -> Caller:
        """Who calls: the key's owner where there are keys, else whom an internal system speaks for."""
        call = current()
        if not self._state.keys:
            return Caller(call.tenant)
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        caller = self._state.keys.authenticate(metadata.get("authorization", ""))
        caller.admit()
        enter(replace(call, tenant=caller.tenant))
        return caller


def plan_of(request: pb.ChatRequest) -> ChatPlan:
    """The request as the pipeline takes it.

    Raises:
        InvalidArgument: A field is not as it should be.
    """
    if request.json_schema and request.json_object:
        raise InvalidArgument("either json_schema or json_object", field="json_schema")
    form: TextFormat | None = None
    if request.json_schema:
        form = TextFormat(json_schema=request.json_schema)
    elif request.json_object:
        form = TextFormat(json_object=JsonObject())
    search, spoken = request.file_search, request.spoken
    return ChatPlan(
        turns=[_turn(message, f"messages[{index}]") for index, message in enumerate(request.messages)],
        model=request.model,
        max_tokens=request.max_tokens,
        stop=request.stop,
        temperature=request.temperature if request.HasField("temperature") else None,
        top_p=request.top_p if request.HasField("top_p") else None,
        seed=request.seed if request.HasField("seed") else None,
        format=form,
        search=FileSearch(search.vector_store_ids, search.max_results) if request.HasField("file_search") else None,
        spoken=Spoken(spoken.voice, spoken.mime_type or "audio/wav") if request.HasField("spoken") else None,
    )


def _turn(message: pb.ChatMessage, field: str) -> Turn:
    if message.role not in _ROLES:
        raise InvalidArgument("the role is system, user or assistant", field=f"{field}.role")
    return Turn(_ROLES[message.role], [_part(part, f"{field}.parts[{i}]") for i, part in enumerate(message.parts)])


def _part(part: pb.ChatPart, field: str) -> str | Medium:
    match part.WhichOneof("content"):
        case "image":
            return Medium("image", _given(part.image, f"{field}.image"), f"{field}.image")
        case "audio":
            return Medium("recording", _given(part.audio, f"{field}.audio"), f"{field}.audio")
        case "text":
            return part.text
    raise InvalidArgument("a part is text, an image or a recording", field=field)


def _given(media: Media, field: str) -> Media:
    if not media.inline and not media.reference:
        raise InvalidArgument("neither bytes nor a reference", field=field)
    return media


def _response(event: Event) -> pb.ChatResponse:
    if isinstance(event, Step):
        return pb.ChatResponse(step=_step(event))
    if isinstance(event, Delta):
        return pb.ChatResponse(delta=event.text)
    if isinstance(event, Sound):
        return pb.ChatResponse(audio=event.data)
    sources = [
        pb.Source(
            vector_store_id=source.store_id,
            file_id=source.file_id,
            filename=source.filename,
            text=source.text,
            score=source.score,
            number=source.number,
        )
        for source in event.sources
    ]
    return pb.ChatResponse(
        finished=pb.ChatFinished(
            reason=event.reason,
            prompt_tokens=event.prompt_tokens,
            completion_tokens=event.completion_tokens,
            steps=[_step(step) for step in event.steps],
            sources=sources,
            degraded=event.degraded,
            prompt_version=event.prompt_version,
        )
    )


def _step(step: Step) -> pb.Step:
    return pb.Step(
        name=step.name,
        model=step.model,
        start_seconds=step.start,
        seconds=step.seconds,
        cached=step.cached,
        error=step.error,
    )
