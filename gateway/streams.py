"""Streaming calls to the services: events that end with one that has `finished`."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import TypeVar, cast

from google.protobuf.message import Message
from polyphony.speech.v1.enhancement_pb2 import EnhanceResponse
from polyphony.speech.v1.synthesis_pb2 import SynthesizeResponse

from gateway.field_names import rename_fields
from servekit.errors import Unavailable

Event = TypeVar("Event", bound=Message)
AudioEvent = TypeVar("AudioEvent", EnhanceResponse, SynthesizeResponse)


async def completed(call: AsyncIterable[Event], task: str, /, **names: str) -> AsyncGenerator[Event]:
    """The events of a call; closing the generator cancels the call.

    Args:
        call: The stub's answer: a stream of messages with a oneof `event`.
        task: What the call does, for the error message.
        names: The caller's names for the fields of the request, as for `rename_fields`.

    Raises:
        Unavailable: The stream ended without its final event, so what it sent is incomplete.
    """
    finished = False
    with rename_fields(**names):
        async with aclosing(cast("AsyncGenerator[Event]", call)) as events:
            async for event in events:
                finished = event.WhichOneof("event") == "finished"
                yield event
    if not finished:
        raise Unavailable(f"the {task} stream ended before its final event", retry_after=1.0)


async def audio_chunks(events: AsyncGenerator[AudioEvent]) -> AsyncGenerator[bytes]:
    """The bytes of the audio, without the other events."""
    async with aclosing(events):
        async for event in events:
            if event.HasField("chunk"):
                yield event.chunk
