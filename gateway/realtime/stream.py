"""One stream to the speech service: sound in, what is understood of it out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from polyphony.speech.v1.transcription_pb2 import (
    StreamingConfig,
    StreamingTranscribeRequest,
    StreamingTranscribeResponse,
)

from servekit.rpc.errors import Unavailable

if TYPE_CHECKING:  # a name that only the generated type stubs have
    from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceAsyncStub

WAITING_PIECES = 4  # that the service has not taken yet: then the client is not read on


class Hearing:
    """An open stream.

    Args:
        transcription: The transcription service.
        config: How to listen.
        heard: Told of every response.
        failed: Told why the stream ended, unless by `finish` or `cancel`.
    """

    def __init__(
        self,
        transcription: "TranscriptionServiceAsyncStub",
        config: StreamingConfig,
        heard: Callable[[StreamingTranscribeResponse], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._transcription = transcription
        self._config = config
        self._heard = heard
        self._failed = failed
        self._pieces: asyncio.Queue[StreamingTranscribeRequest | None] = asyncio.Queue(WAITING_PIECES)
        self._finishing = False
        self._relaying = asyncio.create_task(self._relay())

    async def hear(self, pcm: bytes) -> None:
        """Send further sound, when there is room for it."""
        await self._put(StreamingTranscribeRequest(audio=pcm))

    async def finish(self) -> None:
        """Say that there is no more, and wait for all that is still to be understood."""
        self._finishing = True
        await self._put(None)
        await asyncio.wait([self._relaying])

    async def cancel(self) -> None:
        """Break off."""
        self._relaying.cancel()
        await asyncio.wait([self._relaying])

    async def _put(self, piece: StreamingTranscribeRequest | None) -> None:
        """Hand it on, when there is room; drop it where the stream has ended, which `failed` has been told."""
        putting = asyncio.ensure_future(self._pieces.put(piece))
        try:
            await asyncio.wait([putting, self._relaying], return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()

    async def _relay(self) -> None:
        try:
            call = cast(
                "AsyncGenerator[StreamingTranscribeResponse]", self._transcription.StreamingTranscribe(self._requests())
            )
            async with aclosing(call) as responses:
                async for response in responses:
                    await self._heard(response)
        except Exception as error:  # that the client has gone among them: it may be that nobody reads its socket now
            self._failed(error)
        else:
            if not self._finishing:
                self._failed(Unavailable("the speech service has ended the stream", retry_after=1.0))

    async def _requests(self) -> AsyncGenerator[StreamingTranscribeRequest]:
        yield StreamingTranscribeRequest(config=self._config)
        while (piece := await self._pieces.get()) is not None:
            yield piece
