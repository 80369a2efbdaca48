"""Long-form transcription: a recording of any length, window by window, as a stream of events."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from servekit.scheduling.session import Session
from servekit.tasks.repository import Models
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recording, through
from services.speech.transcription import (
    RecognizedWord,
    Segment,
    TranscriberScheduler,
    TranscriptionOptions,
    Window,
    WindowResult,
    transcribe_window,
)
from services.speech.transcription.windows import SpeechWindow, WindowCutter
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import DEFAULT_VAD_OPTIONS, VadOptions, VoiceActivity

PROGRESS_SECONDS = 1.0
IN_FLIGHT = 2  # windows of a recording: one is prepared, or runs on another engine, while one runs
MIN_COST_SECONDS = 5.0  # a recording is admitted at this cost at least, as each window has a fixed cost


@dataclass(frozen=True, slots=True)
class TranscriptStarted:
    """The language is known. It is empty, with probability 0, where there is no speech to detect it by."""

    language: str
    probability: float
    model: str


@dataclass(frozen=True, slots=True)
class TranscriptProgress:
    """The recording is transcribed up to `position` of the `claimed` seconds of its header; 0 where it claims none."""

    position: float
    claimed: float


@dataclass(frozen=True, slots=True)
class TranscriptFinished:
    """The duration of the audio, and of the speech in it, in seconds."""

    duration: float
    speech: float


TranscriptEvent = TranscriptStarted | Segment | TranscriptProgress | TranscriptFinished


class LongFormTranscriber:
    """Transcribes recordings of any length.

    Args:
        schedulers: The schedulers of the transcribers.
        detector: Detects speech.
    """

    def __init__(self, schedulers: Models[TranscriberScheduler], detector: SpeechDetector) -> None:
        self._schedulers, self._detector = schedulers, detector

    def scheduler(self, model: str, options: TranscriptionOptions) -> TranscriberScheduler:
        """The scheduler of a model that supports the options.

        Raises:
            NotFound: No such model is loaded.
            InvalidArgument: The model does not support an option; the field is named.
        """
        scheduler = self._schedulers.get(model)
        scheduler.model.check(options)
        return scheduler

    async def transcribe(
        self,
        recording: Recording,
        options: TranscriptionOptions,
        model: str = "",
        vad_options: VadOptions = DEFAULT_VAD_OPTIONS,
    ) -> AsyncGenerator[TranscriptEvent, None]:
        """Transcribe a recording. It is admitted once, as a whole; at most `IN_FLIGHT` of its windows are in memory.

        Yields:
            One `TranscriptStarted`, segments in order, `TranscriptProgress` about once a second, one
            `TranscriptFinished`. Times are seconds of the recording.

        Raises:
            Overloaded: The queue is full, or the recording cannot be finished before the deadline.
            ServeError: See `scheduler`, `Recording.chunks` and the model.
        """
        scheduler = self.scheduler(model, options)
        cutter = WindowCutter(VoiceActivity(self._detector, vad_options))
        async with (
            scheduler.session(max(recording.claimed_seconds, MIN_COST_SECONDS), IN_FLIGHT) as session,
            aclosing(_WindowQueue(scheduler, session, cutter, options, recording.claimed_seconds)) as queue,
            aclosing(cut(recording, cutter)) as speech_windows,
        ):
            if options.language:
                yield queue.start(options.language, 1.0)
            async for speech_window in speech_windows:
                if speech_window:
                    queue.begin(speech_window)
                elif queue.is_due:
                    yield queue.progress()
                while queue.is_full:
                    async for event in queue.finish_first():
                        yield event
            while queue.has_windows:
                async for event in queue.finish_first():
                    yield event
            if not queue.has_started:
                yield queue.start("", 0.0)
            yield TranscriptFinished(cutter.received / SAMPLE_RATE, cutter.speech / SAMPLE_RATE)


async def collect(
    events: AsyncGenerator[TranscriptEvent, None],
) -> tuple[TranscriptStarted, list[Segment], TranscriptFinished]:
    """Collect the events of a recording; the generator is closed."""
    started, segments, finished = TranscriptStarted("", 0.0, ""), list[Segment](), TranscriptFinished(0.0, 0.0)
    async with aclosing(events):
        async for event in events:
            match event:
                case TranscriptStarted():
                    started = event
                case Segment():
                    segments.append(event)
                case TranscriptFinished():
                    finished = event
    return started, segments, finished


async def cut(recording: Recording, cutter: WindowCutter) -> AsyncGenerator[SpeechWindow | None, None]:
    """The windows of a recording; None for every chunk that completes none."""
    async with aclosing(recording.chunks()) as chunks:
        async for samples in chunks:
            for speech_window in await through(cutter.feed, samples):
                yield speech_window
            yield None
    for speech_window in await through(cutter.finish):
        yield speech_window


class _WindowQueue:
    """The windows of one recording that are being transcribed, in order.

    Args:
        scheduler: The scheduler of the transcriber.
        session: The session that the recording was admitted as.
        cutter: The source of the windows.
        options: The options. The first window with speech sets the language; the prompt is for the first window.
        claimed: The duration that the recording's header claims, in seconds.
    """

    def __init__(
        self,
        scheduler: TranscriberScheduler,
        session: Session[Window, WindowResult | Window],
        cutter: WindowCutter,
        options: TranscriptionOptions,
        claimed: float,
    ) -> None:
        self._scheduler, self._session, self._cutter, self._claimed = scheduler, session, cutter, claimed
        self._options = options
        self._running: deque[tuple[SpeechWindow, asyncio.Task[WindowResult]]] = deque()
        self._reported_at = time.monotonic()
        self.has_started = False

    @property
    def has_windows(self) -> bool:
        """Whether any window is being transcribed."""
        return bool(self._running)

    @property
    def is_full(self) -> bool:
        """Whether no further window may be started: one at a time while the language is unknown."""
        return len(self._running) >= (IN_FLIGHT if self._options.language else 1)

    @property
    def is_due(self) -> bool:
        """Whether a progress event is due."""
        return time.monotonic() - self._reported_at >= PROGRESS_SECONDS

    def start(self, language: str, probability: float) -> TranscriptStarted:
        """The first event."""
        self.has_started = True
        return TranscriptStarted(language, probability, self._scheduler.spec.id)

    def progress(self) -> TranscriptProgress:
        """The progress of the recording."""
        self._reported_at = time.monotonic()
        position = self._running[0][0].spans[0].start if self._running else self._cutter.waiting_since
        return TranscriptProgress(position / SAMPLE_RATE, self._claimed)

    def begin(self, speech_window: SpeechWindow) -> None:
        """Start to transcribe a window."""
        window = Window(speech_window.samples, self._options)
        self._running.append(
            (speech_window, asyncio.create_task(transcribe_window(self._session, self._scheduler.model, window)))
        )
        self._options = replace(self._options, prompt="")

    async def finish_first(self) -> AsyncGenerator[TranscriptEvent, None]:
        """Wait for the first window, with progress events meanwhile, and yield its segments."""
        speech_window, task = self._running[0]
        while not (await asyncio.wait([task], timeout=PROGRESS_SECONDS))[0]:
            yield self.progress()
        result = task.result()
        self._running.popleft()
        if not self.has_started and (result.language or result.segments):
            yield self.start(result.language, result.language_probability)
        if not self._options.language:
            self._options = replace(self._options, language=result.language)
        for segment in result.segments:
            yield _placed(segment, speech_window)
        if self.is_due:
            yield self.progress()

    async def aclose(self) -> None:
        """Cancel the windows that are being transcribed."""
        for _, task in self._running:
            task.cancel()
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)


def _placed(segment: Segment, speech_window: SpeechWindow) -> Segment:
    """A segment of a window with its times in the recording."""
    words = tuple(
        RecognizedWord(*speech_window.word_times(word.start, word.end), word.text, word.probability)
        for word in segment.words
    )
    start, end = (words[0].start, words[-1].end) if words else speech_window.times(segment.start, segment.end)
    return replace(segment, start=start, end=max(start, end), words=words)
