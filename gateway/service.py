"""The gateway's gRPC service: the composed chat, with the same pipeline as over HTTP."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceServicer

from gateway.app_state import AppState
from gateway.auth import Caller
from gateway.pipelines.answer import AnswerAudio, AnswerDelta, AnswerEvent
from gateway.schemas.report import Step
from servekit.context import current


class GatewayService(GatewayServiceServicer):
    """`polyphony.gateway.v1.GatewayService`.

    Args:
        state: What the handlers share: settings, clients, stores and pipelines.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    async def Chat(
        self, request: pb.ChatRequest, context: grpc.aio.ServicerContext[pb.ChatRequest, pb.ChatResponse]
    ) -> AsyncIterator[pb.ChatResponse]:
        """Stream the events of the answer to a conversation."""
        caller = self._caller(context)
        memory = self._state.body_budgets.memory
        async with (
            memory.held(caller.tenant, request.ByteSize()),
            aclosing(self._state.chat.run(request, caller)) as events,
        ):
            async for event in events:
                yield _response(event)

    def _caller(self, context: grpc.aio.ServicerContext[pb.ChatRequest, pb.ChatResponse]) -> Caller:
        """The caller: the owner of the key where keys are required, else the tenant that the request names."""
        if not self._state.keys:
            return Caller(current().tenant)
        metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        return self._state.keys.admit(metadata.get("authorization", ""))


def _response(event: AnswerEvent) -> pb.ChatResponse:
    if isinstance(event, Step):
        return pb.ChatResponse(step=_step(event))
    if isinstance(event, AnswerDelta):
        return pb.ChatResponse(delta=event.text)
    if isinstance(event, AnswerAudio):
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
