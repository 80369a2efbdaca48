"""The recordings of requests, decoded in chunks on threads."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import BinaryIO, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from polyphony.type.v1.media_pb2 import Media

from servekit.context import current
from servekit.errors import Overloaded
from servekit.media.audio import AudioLimits, audio_chunks, claimed_seconds
from servekit.media.objects import ObjectStore
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

CHUNK_SECONDS = 1.0
RETRY_SECONDS = 1.0  # the retry delay while too many recordings are open

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Recording:
    """An open recording.

    Args:
        file: The bytes of the recording.
        limits: The limits of decoding.
        field: The request field of the recording.
        claimed: The duration that the header claims, in seconds; 0 where it claims none.
    """

    def __init__(self, file: BinaryIO, limits: AudioLimits, field: str, claimed: float) -> None:
        self._file, self._limits = file, limits
        self.field = field
        self.claimed_seconds = claimed

    def samples(self, rate: int = SAMPLE_RATE) -> Iterator[NDArray[np.float32]]:
        """Decode from the beginning on the calling thread, in chunks of any length."""
        return audio_chunks(self._file, self._limits, self.field, rate)

    async def chunks(self, rate: int = SAMPLE_RATE) -> AsyncGenerator[NDArray[np.float32], None]:
        """Decode from the beginning on a thread; each chunk is decoded when it is requested.

        There may be one reader at a time; the next one starts at the beginning.

        Yields:
            (samples,) in [-1, 1] at `rate` Hz, at most `CHUNK_SECONDS` of them.

        Raises:
            InvalidArgument: See `audio_chunks`; raised at the chunk that fails.
            Cancelled, DeadlineExceeded: The request was cancelled or is late.
        """
        cancellation = current().cancellation
        pieces = _gather(self.samples(rate), int(CHUNK_SECONDS * rate))
        try:
            while (piece := await through(next, pieces, None)) is not None:
                cancellation.raise_if_cancelled()
                yield piece
        finally:
            pieces.close()


class Recordings:
    """Opens recordings.

    Args:
        store: Stores the recordings that requests refer to.
        settings: The limits of size, duration and number.
    """

    def __init__(self, store: ObjectStore, settings: SpeechSettings) -> None:
        self._store = store
        self._limits = AudioLimits(settings.max_audio_bytes, settings.max_audio_seconds)
        self._most = settings.max_open_recordings
        self._open = 0

    @asynccontextmanager
    async def open(self, media: Media, field: str, max_seconds: float = math.inf) -> AsyncIterator[Recording]:
        """Open a recording of the current tenant. It is in memory only if the message contained it.

        Args:
            media: The recording, inline or by reference.
            field: The request field of the recording.
            max_seconds: The longest duration that is decoded, where that is less than the settings allow.

        Raises:
            InvalidArgument: The media has neither bytes nor a reference.
            NotFound: The tenant has no such object.
            TooLarge: The recording has too many bytes.
            Overloaded: Too many recordings are open.
        """
        if self._open >= self._most:
            raise Overloaded(f"too many open recordings ({self._most})", retry_after=RETRY_SECONDS)
        limits = replace(self._limits, max_seconds=min(max_seconds, self._limits.max_seconds))
        self._open += 1
        try:
            async with self._store.open(media, current().tenant, limits.max_bytes, field) as file:
                yield Recording(file, limits, field, await through(claimed_seconds, file))
        finally:
            self._open -= 1


async def through(function: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """Run a function on a thread. A caller that is cancelled meanwhile still waits until the function has returned.

    What the function uses may then be closed.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _gather(chunks: Iterator[NDArray[np.float32]], most: int) -> Generator[NDArray[np.float32], None, None]:
    """Regroup chunks into chunks of at most `most` samples, and little less."""
    gathered: list[NDArray[np.float32]] = []
    for chunk in chunks:
        for begin in range(0, len(chunk), most):
            part = chunk[begin : begin + most]
            if gathered and sum(map(len, gathered)) + len(part) > most:
                yield np.concatenate(gathered)
                gathered = []
            gathered.append(part)
    if gathered:
        yield np.concatenate(gathered)
