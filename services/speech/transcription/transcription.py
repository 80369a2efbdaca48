"""Transcription: a recording of any length to what is said in it, window by window, as a stream."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from servekit.models.repository import Models
from servekit.scheduling.session import Session
from services.speech.audio.recording import Recording, through
from services.speech.transcription import (
    LISTENING_RATE,
    Instructions,
    Passage,
    Segment,
    TranscriberScheduler,
    Window,
    Word,
    hear,
)
from services.speech.transcription.windows import Clip, WindowCutter
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import NORMAL, Sensitivity, VoiceActivity

PROGRESS_SECONDS = 1.0
IN_FLIGHT = 2  # windows of a recording: one is prepared, or heard by another engine, while one runs
LEAST_SECONDS = 5.0  # that a recording is admitted as, for a window has a price of its own


@dataclass(frozen=True, slots=True)
class Started:
    """The language is known; empty and of probability 0 where nobody speaks and none was stated."""

    language: str
    probability: float
    model: str


@dataclass(frozen=True, slots=True)
class Progress:
    """All before `heard` seconds is written down, of as many as the recording's header claims; 0 where of none."""

    heard: float
    claimed: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The seconds of sound, and how many of them were speech."""

    duration: float
    speech: float


Heard = Started | Segment | Progress | Finished


class Transcription:
    """Writes down recordings.

    Args:
        schedulers: The transcribers.
        detector: Tells speech from silence.
    """

    def __init__(self, schedulers: Models[TranscriberScheduler], detector: SpeechDetector) -> None:
        self._schedulers, self._detector = schedulers, detector

    def scheduler(self, model: str, instructions: Instructions) -> TranscriberScheduler:
        """The scheduler of a model, if it can do what it is told.

        Raises:
            NotFound: No such model is loaded.
            InvalidArgument: It cannot; the field is named.
        """
        scheduler = self._schedulers.get(model)
        scheduler.model.check(instructions)
        return scheduler

    async def hear(
        self,
        recording: Recording,
        instructions: Instructions,
        model: str = "",
        sensitivity: Sensitivity = NORMAL,
    ) -> AsyncGenerator[Heard, None]:
        """Write down a recording, admitted once and as a whole; at most `IN_FLIGHT` windows of it are in memory.

        Yields:
            One `Started`, segments in order, `Progress` about once a second from the beginning, one `Finished`. Times
            are seconds of the recording.

        Raises:
            Overloaded: There is no room, or no time before the deadline, for so long a recording.
            ServeError: As `scheduler`, `Recording.chunks` and the model say.
        """
        scheduler = self.scheduler(model, instructions)
        cutter = WindowCutter(VoiceActivity(self._detector, sensitivity))
        async with (
            scheduler.session(max(recording.claimed_seconds, LEAST_SECONDS), IN_FLIGHT) as session,
            aclosing(_Hearing(scheduler, session, cutter, instructions, recording.claimed_seconds)) as hearing,
            aclosing(cut(recording, cutter)) as clips,
        ):
            if instructions.language:
                yield hearing.start(instructions.language, 1.0)
            async for clip in clips:
                if clip:
                    hearing.begin(clip)
                elif hearing.is_due:
                    yield hearing.progress()
                while hearing.is_full:
                    async for event in hearing.finish_first():
                        yield event
            while hearing.is_going_on:
                async for event in hearing.finish_first():
                    yield event
            if not hearing.has_started:
                yield hearing.start("", 0.0)
            yield Finished(cutter.heard / LISTENING_RATE, cutter.speech / LISTENING_RATE)


async def gathered(events: AsyncGenerator[Heard, None]) -> tuple[Started, list[Segment], Finished]:
    """All that a recording's events tell, for who has no use for them one by one; the generator is closed."""
    started, segments, finished = Started("", 0.0, ""), list[Segment](), Finished(0.0, 0.0)
    async with aclosing(events):
        async for event in events:
            match event:
                case Started():
                    started = event
                case Segment():
                    segments.append(event)
                case Finished():
                    finished = event
    return started, segments, finished


async def cut(recording: Recording, cutter: WindowCutter) -> AsyncGenerator[Clip | None, None]:
    """The clips of a recording; None for every second or so that completes none."""
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            for clip in await through(cutter.feed, samples):
                yield clip
            yield None
    for clip in await through(cutter.finish):
        yield clip


class _Hearing:
    """One recording's windows on their way through the scheduler.

    Args:
        scheduler: Where they are heard.
        session: What the recording was admitted as.
        cutter: Where they come from.
        instructions: For all; the first with speech settles the language, and the prompt is for the first only.
        claimed: How long the recording says that it is, in seconds.
    """

    def __init__(
        self,
        scheduler: TranscriberScheduler,
        session: Session[Window, Passage | Window],
        cutter: WindowCutter,
        instructions: Instructions,
        claimed: float,
    ) -> None:
        self._scheduler, self._session, self._cutter, self._claimed = scheduler, session, cutter, claimed
        self._instructions = instructions
        self._running: deque[tuple[Clip, asyncio.Task[Passage]]] = deque()
        self._told = time.monotonic()
        self.has_started = False

    @property
    def is_going_on(self) -> bool:
        """Whether any window is on its way."""
        return bool(self._running)

    @property
    def is_full(self) -> bool:
        """Whether no more may be sent on their way; only one while the language is unknown."""
        return len(self._running) >= (IN_FLIGHT if self._instructions.language else 1)

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell how far it is."""
        return time.monotonic() - self._told >= PROGRESS_SECONDS

    def start(self, language: str, probability: float) -> Started:
        """The first event."""
        self.has_started = True
        return Started(language, probability, self._scheduler.spec.id)

    def progress(self) -> Progress:
        """How far it is."""
        self._told = time.monotonic()
        behind = self._running[0][0].spans[0].start if self._running else self._cutter.waiting_since
        return Progress(behind / LISTENING_RATE, self._claimed)

    def begin(self, clip: Clip) -> None:
        """Send a clip on its way."""
        window = Window(clip.samples, self._instructions)
        self._running.append((clip, asyncio.create_task(hear(self._session, self._scheduler.model, window))))
        self._instructions = replace(self._instructions, prompt="")

    async def finish_first(self) -> AsyncGenerator[Heard, None]:
        """Wait for the window that is due, telling how far it is meanwhile, and tell what is said in it."""
        clip, task = self._running[0]
        while not (await asyncio.wait([task], timeout=PROGRESS_SECONDS))[0]:
            yield self.progress()
        passage = task.result()
        self._running.popleft()
        if not self.has_started and (passage.language or passage.segments):
            yield self.start(passage.language, passage.language_probability)
        if not self._instructions.language:
            self._instructions = replace(self._instructions, language=passage.language)
        for segment in passage.segments:
            yield _placed(segment, clip)
        if self.is_due:
            yield self.progress()

    async def aclose(self) -> None:
        """Nobody waits for what is on its way."""
        for _, task in self._running:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)


def _placed(segment: Segment, clip: Clip) -> Segment:
    """A segment of a clip, its times those of the recording."""
    words = tuple(Word(*clip.place_whole(word.start, word.end), word.text, word.probability) for word in segment.words)
    start, end = (words[0].start, words[-1].end) if words else clip.place(segment.start, segment.end)
    return replace(segment, start=start, end=max(start, end), words=words)
