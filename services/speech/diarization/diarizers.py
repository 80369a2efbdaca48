"""Diarizers of recordings: end to end by one model, or by clustering speaker embeddings."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from servekit.context import CancellationToken, current
from servekit.errors import TooLarge
from servekit.scheduling.batch import BatchScheduler
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recording, through
from services.speech.diarization import (
    DiarizationInput,
    DiarizationResult,
    DiarizedTurn,
    Diarizer,
    Embeddings,
    Partials,
    SpeakerEncoder,
)
from services.speech.diarization.clustering import Clusters, cluster
from services.speech.diarization.voice_windows import STEP, VoiceWindows
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import VadOptions, VoiceActivity

EncoderScheduler = BatchScheduler[Partials, Embeddings]
DiarizerScheduler = BatchScheduler[DiarizationInput, DiarizationResult]

VAD_OPTIONS = VadOptions(
    threshold=0.5, min_silence_seconds=0.3, padding_seconds=0.05
)  # turns are closer together than utterances
BRIDGED_SECONDS = 0.6  # shorter pauses of the same speaker do not end a turn
BATCH_WINDOWS = 32  # of one recording in one submission
NO_SPEAKERS = DiarizationResult((), np.zeros((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class DiarizedRecording:
    """The result of a recording, and its duration in seconds."""

    result: DiarizationResult
    seconds: float


class RecordingDiarizer(Protocol):
    """A way to diarize recordings with one model."""

    model: str
    verification_threshold: float

    async def diarize(
        self, recording: Recording, speakers: int, max_speakers: int, seconds: float = inf
    ) -> DiarizedRecording:
        """Diarize a recording.

        Args:
            recording: The recording.
            speakers: The number of speakers; 0 to estimate it.
            max_speakers: The largest number to estimate.
            seconds: The longest duration that is accepted.

        Raises:
            TooLarge: The recording is longer.
            ServeError: See `Recording.chunks` and the model.
        """


class ClusteringDiarizer:
    """Embeds windows of speech while the recording is decoded, and clusters the embeddings at its end.

    Args:
        scheduler: The scheduler of a speaker encoder.
        detector: Detects speech.
    """

    def __init__(self, scheduler: EncoderScheduler, detector: SpeechDetector) -> None:
        self._scheduler, self._detector = scheduler, detector
        self._encoder: SpeakerEncoder = scheduler.model
        self.model, self.verification_threshold = scheduler.spec.id, self._encoder.verification_threshold

    async def diarize(
        self, recording: Recording, speakers: int, max_speakers: int, seconds: float = inf
    ) -> DiarizedRecording:
        windows = VoiceWindows(VoiceActivity(self._detector, VAD_OPTIONS), self._encoder.partial_samples)
        cost = max(1.0, recording.claimed_seconds * SAMPLE_RATE / STEP)
        embeddings: list[Embeddings] = []
        async with (
            self._scheduler.session(cost) as session,
            aclosing(_cut(recording, windows, seconds)) as batches,
        ):
            async for batch in batches:
                embeddings.append(await session.submit(batch, float(len(batch))))
        result = NO_SPEAKERS
        if embeddings:
            cancellation = current().cancellation
            result = await through(self._cluster, embeddings, windows, speakers, max_speakers, cancellation)
        return DiarizedRecording(result, windows.received / SAMPLE_RATE)

    def _cluster(
        self,
        embeddings: list[Embeddings],
        windows: VoiceWindows,
        speakers: int,
        max_speakers: int,
        cancellation: CancellationToken,
    ) -> DiarizationResult:
        span_of = _spans(windows)
        after_pause = np.diff(span_of, prepend=-1) > 0
        clusters = cluster(
            np.concatenate(embeddings),
            after_pause,
            speakers,
            max_speakers,
            self._encoder.clustering_threshold,
            cancellation,
        )
        return DiarizationResult(tuple(_bridged(_turns(clusters, windows, span_of))), clusters.centroids)


class EndToEndDiarizer:
    """Runs an end-to-end model on the whole recording, which is buffered on disk.

    Args:
        scheduler: The scheduler of a diarizer.
    """

    def __init__(self, scheduler: DiarizerScheduler) -> None:
        self._scheduler = scheduler
        model: Diarizer = scheduler.model
        self.model, self.verification_threshold = scheduler.spec.id, model.verification_threshold

    async def diarize(
        self, recording: Recording, speakers: int, max_speakers: int, seconds: float = inf
    ) -> DiarizedRecording:
        with tempfile.TemporaryFile() as file:
            async with aclosing(_bounded(recording, seconds)) as chunks:
                async for samples in chunks:
                    await through(file.write, samples.astype(np.float32).tobytes())
            await asyncio.to_thread(file.flush)
            size = file.tell() // 4
            samples = np.memmap(file, np.float32, "r", shape=(size,)) if size else np.zeros(0, np.float32)
            request = DiarizationInput(samples, speakers, max_speakers)
            result = await self._scheduler.submit(request, max(1.0, request.seconds)) if size else NO_SPEAKERS
            return DiarizedRecording(result, request.seconds)


async def _bounded(recording: Recording, seconds: float) -> AsyncGenerator[NDArray[np.float32], None]:
    """The chunks of a recording that must not be longer than `seconds`."""
    received = 0
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            received += len(samples)
            if received > seconds * SAMPLE_RATE:
                raise TooLarge(f"the recording must not be longer than {seconds:g} s", field=recording.field)
            yield samples


async def _cut(recording: Recording, windows: VoiceWindows, seconds: float) -> AsyncGenerator[Partials, None]:
    """The windows of a recording in batches."""
    waiting = np.zeros((0, 0), np.float32)

    def joined(more: Partials) -> Partials:
        return np.concatenate([waiting, more]) if len(waiting) else more

    async with aclosing(_bounded(recording, seconds)) as chunks:
        async for samples in chunks:
            waiting = joined(await through(windows.feed, samples))
            while len(waiting) >= BATCH_WINDOWS:
                yield waiting[:BATCH_WINDOWS]
                waiting = waiting[BATCH_WINDOWS:]
    waiting = joined(await through(windows.finish))
    for first in range(0, len(waiting), BATCH_WINDOWS):
        yield waiting[first : first + BATCH_WINDOWS]


def _spans(windows: VoiceWindows) -> NDArray[np.int64]:
    """The index of the speech span that each window belongs to."""
    starts = [span.start for span in windows.spans]
    return np.searchsorted(starts, windows.centers, side="right") - 1


def _turns(clusters: Clusters, windows: VoiceWindows, span_of: NDArray[np.int64]) -> Iterator[DiarizedTurn]:
    """A turn for every run of windows of one speaker in a span; adjacent turns meet halfway between their windows."""
    for number, span in enumerate(windows.spans):
        [inside] = np.nonzero(span_of == number)
        centroids = [windows.centers[window] for window in inside]
        edges = [span.start, *((first + second) // 2 for first, second in pairwise(centroids)), span.end]
        begin = 0
        for end in range(1, len(inside) + 1):
            if end == len(inside) or clusters.labels[inside[end]] != clusters.labels[inside[begin]]:
                yield DiarizedTurn(
                    edges[begin] / SAMPLE_RATE,
                    edges[end] / SAMPLE_RATE,
                    int(clusters.labels[inside[begin]]),
                    float(clusters.confidences[inside[begin:end]].mean()),
                )
                begin = end


def _bridged(turns: Iterator[DiarizedTurn]) -> Iterator[DiarizedTurn]:
    """The turns, where those of one speaker with only a short pause between them are joined."""
    last: DiarizedTurn | None = None
    for turn in turns:
        if last and last.speaker == turn.speaker and turn.start - last.end < BRIDGED_SECONDS:
            before, now = last.end - last.start, turn.end - turn.start
            confidence = (last.confidence * before + turn.confidence * now) / max(before + now, 1e-9)
            last = DiarizedTurn(last.start, turn.end, turn.speaker, confidence)
        else:
            if last:
                yield last
            last = turn
    if last:
        yield last
