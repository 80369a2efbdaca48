"""Listeners: how a recording becomes who speaks when, by a model that does all of it or by one that knows voices."""

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

from servekit.rpc.context import CancellationToken, current
from servekit.rpc.errors import TooLarge
from servekit.scheduling.batch import BatchScheduler
from services.speech.audio.recording import Recording, through
from services.speech.diarization import LISTENING_RATE, Diarizer, Partials, People, SpeakerEncoder, Talk, Turn, Voices
from services.speech.diarization.clustering import Clusters, cluster
from services.speech.diarization.voice_windows import STEP, VoiceWindows
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Sensitivity, VoiceActivity

EncoderScheduler = BatchScheduler[Partials, Voices]
DiarizerScheduler = BatchScheduler[Talk, People]

SENSITIVITY = Sensitivity(threshold=0.5, min_silence_seconds=0.3, padding_seconds=0.05)  # turns are closer than phrases
BRIDGED_SECONDS = 0.6  # a pause in which nobody else speaks does not end a turn
TOGETHER = 32  # windows of a recording that run together
NOBODY = People((), np.zeros((0, 0), np.float32))


@dataclass(frozen=True, slots=True)
class Heard:
    """Who speaks when in a recording, and how long it is, in seconds."""

    people: People
    seconds: float


class Listener(Protocol):
    """One model, and how a recording is heard with it."""

    model: str
    known_voice: float

    async def hear(self, recording: Recording, speakers: int, most: int, seconds: float = inf) -> Heard:
        """Hear a recording.

        Args:
            recording: Which.
            speakers: How many there are; 0 to find out.
            most: How many are looked for where that is to be found out.
            seconds: How long it may be.

        Raises:
            TooLarge: It is longer.
            ServeError: As `Recording.chunks` and the model say.
        """


class VoiceListener:
    """Listens to voices in windows along the speech, as it is decoded, and clusters them at its end.

    Args:
        scheduler: A model that knows voices.
        detector: Tells speech from silence.
    """

    def __init__(self, scheduler: EncoderScheduler, detector: SpeechDetector) -> None:
        self._scheduler, self._detector = scheduler, detector
        self._encoder: SpeakerEncoder = scheduler.model
        self.model, self.known_voice = scheduler.spec.id, self._encoder.known_voice

    async def hear(self, recording: Recording, speakers: int, most: int, seconds: float = inf) -> Heard:
        windows = VoiceWindows(VoiceActivity(self._detector, SENSITIVITY), self._encoder.partial_samples)
        promised = max(1.0, recording.claimed_seconds * LISTENING_RATE / STEP)
        voices: list[Voices] = []
        async with (
            self._scheduler.session(promised) as session,
            aclosing(_cut(recording, windows, seconds)) as batches,
        ):
            async for batch in batches:
                voices.append(await session.submit(batch, float(len(batch))))
        people = (
            await through(self._told, voices, windows, speakers, most, current().cancellation) if voices else NOBODY
        )
        return Heard(people, windows.heard / LISTENING_RATE)

    def _told(
        self, voices: list[Voices], windows: VoiceWindows, speakers: int, most: int, cancellation: CancellationToken
    ) -> People:
        span_of = _spans(windows)
        after_pause = np.diff(span_of, prepend=-1) > 0
        clusters = cluster(np.concatenate(voices), after_pause, speakers, most, self._encoder.same_voice, cancellation)
        return People(tuple(_bridged(_turns(clusters, windows, span_of))), clusters.middles)


class TalkListener:
    """Has a model that does all of it hear the whole recording, which meanwhile lies on disk.

    Args:
        scheduler: The model.
    """

    def __init__(self, scheduler: DiarizerScheduler) -> None:
        self._scheduler = scheduler
        model: Diarizer = scheduler.model
        self.model, self.known_voice = scheduler.spec.id, model.known_voice

    async def hear(self, recording: Recording, speakers: int, most: int, seconds: float = inf) -> Heard:
        with tempfile.TemporaryFile() as file:
            async with aclosing(_bounded(recording, seconds)) as chunks:
                async for samples in chunks:
                    await through(file.write, samples.astype(np.float32).tobytes())
            await asyncio.to_thread(file.flush)
            size = file.tell() // 4
            samples = np.memmap(file, np.float32, "r", shape=(size,)) if size else np.zeros(0, np.float32)
            talk = Talk(samples, speakers, most)
            return Heard(await self._scheduler.submit(talk, max(1.0, talk.seconds)) if size else NOBODY, talk.seconds)


async def _bounded(recording: Recording, seconds: float) -> AsyncGenerator[NDArray[np.float32], None]:
    heard = 0
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            heard += len(samples)
            if heard > seconds * LISTENING_RATE:
                raise TooLarge(f"more than {seconds:g} seconds of sound", field=recording.field)
            yield samples


async def _cut(recording: Recording, windows: VoiceWindows, seconds: float) -> AsyncGenerator[Partials, None]:
    """The windows of a recording, so many at a time."""
    waiting = np.zeros((0, 0), np.float32)

    def joined(more: Partials) -> Partials:
        return np.concatenate([waiting, more]) if len(waiting) else more

    async with aclosing(_bounded(recording, seconds)) as chunks:
        async for samples in chunks:
            waiting = joined(await through(windows.feed, samples))
            while len(waiting) >= TOGETHER:
                yield waiting[:TOGETHER]
                waiting = waiting[TOGETHER:]
    waiting = joined(await through(windows.finish))
    for first in range(0, len(waiting), TOGETHER):
        yield waiting[first : first + TOGETHER]


def _spans(windows: VoiceWindows) -> NDArray[np.int64]:
    """Which span each window is of."""
    starts = [span.start for span in windows.spans]
    return np.searchsorted(starts, windows.middles, side="right") - 1


def _turns(clusters: Clusters, windows: VoiceWindows, span_of: NDArray[np.int64]) -> Iterator[Turn]:
    """A turn for every run of windows of a person in a span; two of them meet halfway between their windows."""
    for number, span in enumerate(windows.spans):
        [inside] = np.nonzero(span_of == number)
        middles = [windows.middles[window] for window in inside]
        edges = [span.start, *((first + second) // 2 for first, second in pairwise(middles)), span.end]
        begin = 0
        for end in range(1, len(inside) + 1):
            if end == len(inside) or clusters.labels[inside[end]] != clusters.labels[inside[begin]]:
                yield Turn(
                    edges[begin] / LISTENING_RATE,
                    edges[end] / LISTENING_RATE,
                    int(clusters.labels[inside[begin]]),
                    float(clusters.confidences[inside[begin:end]].mean()),
                )
                begin = end


def _bridged(turns: Iterator[Turn]) -> Iterator[Turn]:
    """The same turns, those of a person joined between which there is only a short pause."""
    last: Turn | None = None
    for turn in turns:
        if last and last.person == turn.person and turn.start - last.end < BRIDGED_SECONDS:
            before, now = last.end - last.start, turn.end - turn.start
            confidence = (last.confidence * before + turn.confidence * now) / max(before + now, 1e-9)
            last = Turn(last.start, turn.end, turn.person, confidence)
        else:
            if last:
                yield last
            last = turn
    if last:
        yield last
