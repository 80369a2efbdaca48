"""Recordings: what callers send to be heard, decoded bit by bit beside the event loop."""

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import BinaryIO, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from polyphony.type.v1.media_pb2 import Media

from servekit.media.audio import AudioLimits, audio_chunks, claimed_seconds
from servekit.media.objects import ObjectStore
from servekit.rpc.context import current
from servekit.rpc.errors import Overloaded
from services.speech.audio import SAMPLE_RATE
from services.speech.settings import SpeechSettings

CHUNK_SECONDS = 1.0
CROWDED_SECONDS = 1.0  # what a caller is told to wait while too many are open

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Recording:
    """One recording, open.

    Args:
        file: Its bytes.
        limits: How much of it is decoded.
        field: The request field that it came in.
        claimed: How long its header says that it is, in seconds; 0 where it says nothing.
    """

    def __init__(self, file: BinaryIO, limits: AudioLimits, field: str, claimed: float) -> None:
        self._file, self._limits = file, limits
        self.field = field
        self.claimed_seconds = claimed

    def samples(self, rate: int = SAMPLE_RATE) -> Iterator[NDArray[np.float32]]:
        """Decode it from its beginning on the thread that asks; else as `chunks`, but pieces are as they come."""
        return audio_chunks(self._file, self._limits, self.field, rate)

    async def chunks(self, rate: int = SAMPLE_RATE) -> AsyncGenerator[NDArray[np.float32], None]:
        """Decode it from its beginning, one chunk ahead of nobody: the next is decoded when it is asked for.

        One reader at a time; a second begins anew.

        Yields:
            (samples,) in [-1, 1] at `rate` Hz, at most `CHUNK_SECONDS` of them.

        Raises:
            InvalidArgument: As `audio_chunks` says, when it comes to it.
            Cancelled, DeadlineExceeded: Nobody waits for it any more.
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
        store: Where those are that come by reference.
        settings: How large and how long they may be, and how many at once.
    """

    def __init__(self, store: ObjectStore, settings: SpeechSettings) -> None:
        self._store = store
        self._limits = AudioLimits(settings.max_audio_bytes, settings.max_audio_seconds)
        self._most = settings.max_open_recordings
        self._open = 0

    @asynccontextmanager
    async def open(self, media: Media, field: str, max_seconds: float = math.inf) -> AsyncIterator[Recording]:
        """A recording of the current call's tenant, never whole in memory unless the message carried it.

        Args:
            media: Where it is.
            field: The request field that it came in.
            max_seconds: The most that is decoded, where that is less than the settings have.

        Raises:
            InvalidArgument: It has neither bytes nor a reference.
            NotFound: This tenant has no such object.
            TooLarge: It has too many bytes.
            Overloaded: Too many are open.
        """
        if self._open >= self._most:
            raise Overloaded(f"{self._most} recordings are open, no more", retry_after=CROWDED_SECONDS)
        limits = replace(self._limits, max_seconds=min(max_seconds, self._limits.max_seconds))
        self._open += 1
        try:
            async with self._store.open(media, current().tenant, limits.max_bytes, field) as file:
                yield Recording(file, limits, field, await through(claimed_seconds, file))
        finally:
            self._open -= 1


async def through(function: Callable[Params, Result], *args: Params.args, **kwargs: Params.kwargs) -> Result:
    """Run `function` on a thread, and see it through: whoever is cancelled meanwhile leaves when it has returned.

    What it works with may then be closed.
    """
    running = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


def _gather(chunks: Iterator[NDArray[np.float32]], most: int) -> Generator[NDArray[np.float32], None, None]:
    """The same samples in pieces of at most `most`, and little less."""
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
