"""Finders of known words in a clip of speech: models that do nothing else, and models that write down."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

from servekit.media.scripts import join
from servekit.rpc.errors import TooLarge
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.session import Session
from services.speech.alignment import Aligner, Place, Spoken
from services.speech.alignment.anchors import by_letters
from services.speech.transcription import (
    LISTENING_RATE,
    WINDOW_SECONDS,
    Instructions,
    Passage,
    TranscriberScheduler,
    Window,
    hear,
)
from services.speech.transcription.windows import Clip
from services.speech.words import TextWord

AlignerScheduler = BatchScheduler[Spoken, Sequence[Place]]
Places = Sequence[Place | None]


class Search(Protocol):
    """One recording's words being found."""

    async def find(self, clip: Clip, words: Sequence[TextWord], language: str) -> tuple[Places, str]:
        """Where in the clip each word is said, None for what is not found; and the language, stated or heard."""


class TrellisFinder:
    """Finds words with an aligner.

    Args:
        scheduler: Its scheduler.
    """

    is_transcriber = False

    def __init__(self, scheduler: AlignerScheduler) -> None:
        self._scheduler = scheduler
        self.model = scheduler.spec.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language, or the letters.
        """
        cast("Aligner", self._scheduler.model).check(language, [word.key for word in words])

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[Search]:
        """Admit a recording of about so many seconds.

        Raises:
            Overloaded: There is no room or no time for it.
        """
        async with self._scheduler.session(seconds) as session:
            yield _TrellisSearch(session)


class _TrellisSearch:
    def __init__(self, session: Session[Spoken, Sequence[Place]]) -> None:
        self._session = session

    async def find(self, clip: Clip, words: Sequence[TextWord], language: str) -> tuple[Places, str]:
        spoken = Spoken(clip.samples, tuple(word.key for word in words), language)
        places = await self._session.submit(spoken, len(clip.samples) / LISTENING_RATE)
        return [place if place.confidence else None for place in places], language


class AttentionFinder:
    """Finds words with a transcriber that is told them.

    Args:
        scheduler: Its scheduler.
    """

    is_transcriber = True

    def __init__(self, scheduler: TranscriberScheduler) -> None:
        self._scheduler = scheduler
        self.model = scheduler.spec.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:  # noqa: ARG002
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language.
        """
        self._scheduler.model.check(Instructions(language))

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[Search]:
        """Admit a recording of about so many seconds.

        Raises:
            Overloaded: There is no room or no time for it.
        """
        # Of a longer one most is found when it is written down, which is admitted by itself.
        async with self._scheduler.session(min(seconds, WINDOW_SECONDS)) as session:
            yield _AttentionSearch(self._scheduler, session)


class _AttentionSearch:
    def __init__(self, scheduler: TranscriberScheduler, session: Session[Window, Passage | Window]) -> None:
        self._scheduler, self._session = scheduler, session

    async def find(self, clip: Clip, words: Sequence[TextWord], language: str) -> tuple[Places, str]:
        text = join(word.text for word in words)
        window = Window(clip.samples, Instructions(language, word_times=True), text=text)
        try:
            passage = await hear(self._session, self._scheduler.model, window)
        except TooLarge:  # nobody says so much in so short a time: it is not said here
            return [None] * len(words), language
        told = [word for segment in passage.segments for word in segment.words]
        return by_letters([word.key for word in words], told), passage.language


Finder = TrellisFinder | AttentionFinder
