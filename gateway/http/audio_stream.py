"""Sound that a service streams: events with a `chunk` each, and in the end one that it has `finished`."""

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import TypeVar, cast

from polyphony.speech.v1.enhancement_pb2 import EnhanceResponse
from polyphony.speech.v1.speech_pb2 import SynthesizeResponse

from gateway.http.errors import renaming
from servekit.rpc.errors import Unavailable

SoundEvent = TypeVar("SoundEvent", EnhanceResponse, SynthesizeResponse)


async def complete(call: AsyncIterable[SoundEvent], what: str, **names: str) -> AsyncGenerator[SoundEvent]:
    """The events of a call, which ends when they are no longer wanted.

    Args:
        call: As the client's stub answers it.
        what: What the service is doing, for the message.
        names: The caller's names for the fields of the service, as for `renaming`.

    Raises:
        Unavailable: It broke off.
    """
    finished = False
    with renaming(**names):
        async with aclosing(cast("AsyncGenerator[SoundEvent]", call)) as events:
            async for event in events:
                finished = event.HasField("finished")
                yield event
    if not finished:
        raise Unavailable(f"{what} broke off", retry_after=1.0)


async def chunks(events: AsyncGenerator[SoundEvent]) -> AsyncGenerator[bytes]:
    """The sound alone."""
    async with aclosing(events):
        async for event in events:
            if event.HasField("chunk"):
                yield event.chunk
