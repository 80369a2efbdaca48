"""Aligners of recordings: by a CTC model, or by the cross-attention of a transcriber."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

from servekit.errors import TooLarge
from servekit.media.scripts import join
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.session import Session
from services.speech.alignment import Aligner, AlignmentInput, WordTiming
from services.speech.alignment.anchors import by_letters
from services.speech.audio import SAMPLE_RATE
from services.speech.transcription import (
    WINDOW_SECONDS,
    TranscriberScheduler,
    TranscriptionOptions,
    Window,
    WindowResult,
    transcribe_window,
)
from services.speech.transcription.windows import SpeechWindow
from services.speech.words import TextWord

AlignerScheduler = BatchScheduler[AlignmentInput, Sequence[WordTiming]]
Timings = Sequence[WordTiming | None]


class AlignmentSession(Protocol):
    """The alignment of one recording, window by window."""

    async def align(self, speech_window: SpeechWindow, words: Sequence[TextWord], language: str) -> tuple[Timings, str]:
        """The timing of each word in the window, None where it is not found, and the language."""


class CtcAligner:
    """Aligns words with a CTC model.

    Args:
        scheduler: The scheduler of the aligner.
    """

    is_transcriber = False

    def __init__(self, scheduler: AlignerScheduler) -> None:
        self._scheduler = scheduler
        self.model = scheduler.spec.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:
        """Reject what the model does not support.

        Raises:
            InvalidArgument: The model does not support the language or the letters.
        """
        cast("Aligner", self._scheduler.model).check(language, [word.key for word in words])

    @asynccontextmanager
    async def open(self, seconds: float) -> AsyncIterator[AlignmentSession]:
        """Admit a recording of about `seconds`.

        Raises:
            Overloaded: The queue is full, or the recording cannot be finished before the deadline.
        """
        async with self._scheduler.session(seconds) as session:
            yield _CtcSession(session)


class _CtcSession:
    def __init__(self, session: Session[AlignmentInput, Sequence[WordTiming]]) -> None:
        self._session = session

    async def align(self, speech_window: SpeechWindow, words: Sequence[TextWord], language: str) -> tuple[Timings, str]:
        spoken = AlignmentInput(speech_window.samples, tuple(word.key for word in words), language)
        timings = await self._session.submit(spoken, len(speech_window.samples) / SAMPLE_RATE)
        return [timing if timing.confidence else None for timing in timings], language


class AttentionAligner:
    """Aligns words with a transcriber, which is given the text.

    Args:
        scheduler: The scheduler of the transcriber.
    """

    is_transcriber = True

    def __init__(self, scheduler: TranscriberScheduler) -> None:
        self._scheduler = scheduler
        self.model = scheduler.spec.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:  # noqa: ARG002
        """Reject what the model does not support.

        Raises:
            InvalidArgument: The model does not support the language.
        """
        self._scheduler.model.check(TranscriptionOptions(language))

    @asynccontextmanager
    async def open(self, seconds: float) -> AsyncIterator[AlignmentSession]:
        """Admit a recording of about `seconds`.

        Raises:
            Overloaded: The queue is full, or the recording cannot be finished before the deadline.
        """
        # Most words of a longer recording are aligned by its transcription, which is admitted separately.
        async with self._scheduler.session(min(seconds, WINDOW_SECONDS)) as session:
            yield _AttentionSession(self._scheduler, session)


class _AttentionSession:
    def __init__(self, scheduler: TranscriberScheduler, session: Session[Window, WindowResult | Window]) -> None:
        self._scheduler, self._session = scheduler, session

    async def align(self, speech_window: SpeechWindow, words: Sequence[TextWord], language: str) -> tuple[Timings, str]:
        text = join(word.text for word in words)
        window = Window(speech_window.samples, TranscriptionOptions(language, word_times=True), text=text)
        try:
            result = await transcribe_window(self._session, self._scheduler.model, window)
        except TooLarge:  # too many words for the window, so they are not spoken in it
            return [None] * len(words), language
        recognized = [word for segment in result.segments for word in segment.words]
        return by_letters([word.key for word in words], recognized), result.language


RecordingAligner = CtcAligner | AttentionAligner
