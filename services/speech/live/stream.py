"""One live stream of audio, cut into utterances and read no faster than these are transcribed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import Cancelled, InvalidArgument, TooLarge, Unavailable
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import through
from services.speech.live.endpointing import Endpointer, Utterance
from services.speech.live.pcm import PcmStream
from services.speech.settings import SpeechSettings
from services.speech.voice_activity import STEP, SpeechProbabilities

MAX_QUEUED_UTTERANCES = 2  # utterances; beyond it the stream is not read
SLICE_BYTES = 1 << 16  # of a large message that are processed at once


class StreamingVad:
    """Bytes in; samples, and the speech probability of every `STEP` of them, out.

    Args:
        pcm: Decodes the bytes.
        probabilities: The speech probabilities of the stream.
    """

    def __init__(self, pcm: PcmStream, probabilities: SpeechProbabilities) -> None:
        self._pcm = pcm
        self._probabilities = probabilities
        self._rest = np.zeros(0, np.float32)

    def process(self, data: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Whole steps, (steps * `STEP`,), and their speech probabilities, (steps,); the rest is kept for later."""
        samples = np.concatenate([self._rest, self._pcm.feed(data)])
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        return samples[:whole], self._probabilities.process(samples[:whole].reshape(-1, STEP))


class LiveStream:
    """One caller's stream of messages.

    Args:
        requests: They.
        settings: How long it may be, and may stall.

    Attributes:
        changed: Set whenever the utterance that is being said has extended or ended.
    """

    def __init__(self, requests: AsyncIterator[pb.StreamingTranscribeRequest], settings: SpeechSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._started: asyncio.Queue[Utterance | None] = asyncio.Queue()  # bounded by `_slots`
        self._slots = asyncio.Semaphore(MAX_QUEUED_UTTERANCES)
        self._idle_timeout: asyncio.Timeout | None = None
        self._stopping = False
        self.changed = asyncio.Event()

    async def config(self) -> pb.StreamingConfig:
        """The config, which is the first message.

        Raises:
            InvalidArgument: The first message is another one, or there is none.
        """
        request = await self._next()
        if request is None or not request.HasField("config"):
            raise InvalidArgument("the first message must be the config", field="config")
        return request.config

    async def utterances(self, vad: StreamingVad, endpointer: Endpointer) -> AsyncGenerator[Utterance, None]:
        """The utterances, each as soon as it starts, until the stream ends.

        Raises:
            ServeError: The stream failed; raised after the last utterance.
        """
        reading = asyncio.create_task(self._read(vad, endpointer))
        try:
            while (utterance := await self._started.get()) is not None:
                yield utterance
                self._slots.release()
            await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def stop(self) -> None:
        """End the stream after the current utterance, as the service is stopping."""
        self._stopping = True
        if self._idle_timeout is not None:
            self._idle_timeout.reschedule(0.0)

    async def _read(self, vad: StreamingVad, endpointer: Endpointer) -> None:
        try:
            while (request := await self._next()) is not None:
                match request.WhichOneof("message"):
                    case "audio":
                        await self._take(request.audio, vad, endpointer)
                    case "commit":
                        endpointer.commit()
                        self.changed.set()
                    case _:
                        raise InvalidArgument("messages after the config must be audio or commit", field="config")
        finally:
            endpointer.commit()
            self.changed.set()
            self._started.put_nowait(None)

    async def _take(self, data: bytes, vad: StreamingVad, endpointer: Endpointer) -> None:
        arrived, most = monotonic(), self._settings.max_live_seconds
        for begin in range(0, len(data), SLICE_BYTES):
            samples, probabilities = await through(vad.process, data[begin : begin + SLICE_BYTES])
            for utterance in endpointer.process(samples, probabilities, arrived):
                await self._slots.acquire()
                self._started.put_nowait(utterance)
            self.changed.set()
            if endpointer.position > most * SAMPLE_RATE:
                raise TooLarge(f"a live stream must not be longer than {most:g} s", field="audio")

    async def _next(self) -> pb.StreamingTranscribeRequest | None:
        """The next request; None at the end of the stream."""
        stall = self._settings.live_idle_timeout_seconds
        try:
            async with asyncio.timeout(0.0 if self._stopping else stall) as self._idle_timeout:
                return await anext(self._requests, None)
        except TimeoutError as error:
            if self._stopping:
                raise Unavailable("the service is stopping", retry_after=1.0) from error
            raise Cancelled(f"no message was received for {stall:g} s", field="audio") from error
        finally:
            self._idle_timeout = None
