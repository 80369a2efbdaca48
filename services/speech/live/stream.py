"""One live stream, read piece by piece and cut into phrases; read no faster than its phrases are written down."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.rpc.errors import Cancelled, InvalidArgument, TooLarge, Unavailable
from services.speech.audio.recording import through
from services.speech.live.endpointing import Endpointer, Phrase
from services.speech.live.pcm import PcmStream
from services.speech.settings import SpeechSettings
from services.speech.transcription import LISTENING_RATE
from services.speech.voice_activity import STEP, Listening

WAITING_PHRASES = 2  # that may wait for the one before them: then the stream is not read on
SLICE_BYTES = 1 << 16  # what is resampled and judged at once of a large message


class Ear:
    """Bytes in, samples and the probability of speech in every `STEP` of them out.

    Args:
        pcm: What the bytes are.
        listening: Tells speech from silence in this stream.
    """

    def __init__(self, pcm: PcmStream, listening: Listening) -> None:
        self._pcm = pcm
        self._listening = listening
        self._rest = np.zeros(0, np.float32)

    def hear(self, data: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whole steps, (steps * `STEP`,), and their probabilities, (steps,); the rest waits for more."""
        samples = np.concatenate([self._rest, self._pcm.feed(data)])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        return samples[:whole], self._listening.hear(samples[:whole].reshape(-1, STEP))


class LiveStream:
    """One caller's stream of messages.

    Args:
        requests: They.
        settings: How long it may be, and may stall.

    Attributes:
        stirred: Set whenever the phrase that is being said has grown or ended.
    """

    def __init__(self, requests: AsyncIterator[pb.StreamingTranscribeRequest], settings: SpeechSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._begun: asyncio.Queue[Phrase | None] = asyncio.Queue()  # bounded by `_room`
        self._room = asyncio.Semaphore(WAITING_PHRASES)
        self._patience: asyncio.Timeout | None = None
        self._leaving = False
        self.stirred = asyncio.Event()

    async def config(self) -> pb.StreamingConfig:
        """The first message.

        Raises:
            InvalidArgument: It is something else, or there is none.
        """
        request = await self._next()
        if request is None or not request.HasField("config"):
            raise InvalidArgument("the config comes first", field="config")
        return request.config

    async def phrases(self, ear: Ear, endpointer: Endpointer) -> AsyncGenerator[Phrase, None]:
        """The phrases, each as it begins, until the stream ends.

        Raises:
            ServeError: Why it ended, if not by its caller's will; after the last phrase.
        """
        reading = asyncio.create_task(self._read(ear, endpointer))
        try:
            while (phrase := await self._begun.get()) is not None:
                yield phrase
                self._room.release()
            await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def leave(self) -> None:
        """End the stream after the phrase that is being said: the service stops."""
        self._leaving = True
        if self._patience is not None:
            self._patience.reschedule(0.0)

    async def _read(self, ear: Ear, endpointer: Endpointer) -> None:
        try:
            while (request := await self._next()) is not None:
                match request.WhichOneof("message"):
                    case "audio":
                        await self._take(request.audio, ear, endpointer)
                    case "commit":
                        endpointer.commit()
                        self.stirred.set()
                    case _:
                        raise InvalidArgument("after the config come audio and commits", field="config")
        finally:
            endpointer.commit()
            self.stirred.set()
            self._begun.put_nowait(None)

    async def _take(self, data: bytes, ear: Ear, endpointer: Endpointer) -> None:
        arrived, most = monotonic(), self._settings.max_live_seconds
        for begin in range(0, len(data), SLICE_BYTES):
            samples, probabilities = await through(ear.hear, data[begin : begin + SLICE_BYTES])
            for phrase in endpointer.hear(samples, probabilities, arrived):
                await self._room.acquire()
                self._begun.put_nowait(phrase)
            self.stirred.set()
            if endpointer.position > most * LISTENING_RATE:
                raise TooLarge(f"a live stream lasts {most:g} s at most", field="audio")

    async def _next(self) -> pb.StreamingTranscribeRequest | None:
        """The next message; None at the end of the stream."""
        stall = self._settings.live_idle_timeout_seconds
        try:
            async with asyncio.timeout(0.0 if self._leaving else stall) as self._patience:
                return await anext(self._requests, None)
        except TimeoutError as error:
            if self._leaving:
                raise Unavailable("the service is stopping", retry_after=1.0) from error
            raise Cancelled(f"nothing came for {stall:g} s", field="audio") from error
        finally:
            self._patience = None
