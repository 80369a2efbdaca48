"""One stream to the speech service: audio in, transcripts out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from polyphony.speech.v1.transcription_pb2 import (
    StreamingConfig,
    StreamingTranscribeRequest,
    StreamingTranscribeResponse,
)

from servekit.errors import Unavailable

if TYPE_CHECKING:  # a name that only the generated type stubs have
    from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceAsyncStub

MAX_WAITING_CHUNKS = 4  # that the service has not read yet; then no more is read from the client


class TranscriptionStream:
    """An open stream.

    Args:
        transcription: The client of the transcription service.
        config: The configuration of the stream.
        on_response: Called with every response.
        on_failure: Called with the reason if the stream ends other than by `finish` or `cancel`.
    """

    def __init__(
        self,
        transcription: "TranscriptionServiceAsyncStub",
        config: StreamingConfig,
        on_response: Callable[[StreamingTranscribeResponse], Awaitable[None]],
        on_failure: Callable[[Exception], None],
    ) -> None:
        self._transcription = transcription
        self._config = config
        self._on_response = on_response
        self._on_failure = on_failure
        self._chunks: asyncio.Queue[StreamingTranscribeRequest | None] = asyncio.Queue(MAX_WAITING_CHUNKS)
        self._finishing = False
        self._relaying = asyncio.create_task(self._relay())

    async def send(self, pcm: bytes) -> None:
        """Send a chunk of audio, once the queue has room for it."""
        await self._put(StreamingTranscribeRequest(audio=pcm))

    async def finish(self) -> None:
        """End the audio, and wait for the remaining responses."""
        self._finishing = True
        await self._put(None)
        await asyncio.wait([self._relaying])

    async def cancel(self) -> None:
        """Cancel the stream."""
        self._relaying.cancel()
        await asyncio.wait([self._relaying])

    async def _put(self, chunk: StreamingTranscribeRequest | None) -> None:
        """Queue a chunk once there is room; drop it where the stream has ended, of which `on_failure` was called."""
        putting = asyncio.ensure_future(self._chunks.put(chunk))
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
                    await self._on_response(response)
        except Exception as error:  # a client's disconnect among them, since nothing may be reading its socket
            self._on_failure(error)
        else:
            if not self._finishing:
                self._on_failure(Unavailable("the speech service ended the stream", retry_after=1.0))

    async def _requests(self) -> AsyncGenerator[StreamingTranscribeRequest]:
        yield StreamingTranscribeRequest(config=self._config)
        while (chunk := await self._chunks.get()) is not None:
            yield chunk
