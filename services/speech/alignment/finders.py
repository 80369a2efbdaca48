"""Finders of known words in a clip of speech: models that do nothing else, and models that write down."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, cast

from servekit.batching import BatchLane
from servekit.errors import TooLarge
from servekit.session import Session
from servekit.writing import join
from services.speech.alignment.anchors import by_letters
from services.speech.ports.aligner import Aligner, Place, Spoken
from services.speech.ports.transcriber import (
    LISTENING_RATE,
    WINDOW_SECONDS,
    Instructions,
    Passage,
    TranscriberLane,
    Window,
    hear,
)
from services.speech.transcription.windows import Clip
from services.speech.words import TextWord

AlignerLane = BatchLane[Spoken, Sequence[Place]]
Places = Sequence[Place | None]


class Search(Protocol):
    """One recording's words being found."""

    async def find(self, clip: Clip, words: Sequence[TextWord], language: str) -> tuple[Places, str]:
        """Where in the clip each word is said, None for what is not found; and the language, stated or heard."""


class TrellisFinder:
    """Finds words with an aligner.

    Args:
        lane: Its lane.
    """

    is_transcriber = False

    def __init__(self, lane: AlignerLane) -> None:
        self._lane = lane
        self.model = lane.card.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language, or the letters.
        """
        cast("Aligner", self._lane.model).check(language, [word.key for word in words])

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[Search]:
        """Admit a recording of about so many seconds.

        Raises:
            Overloaded: There is no room or no time for it.
        """
        async with self._lane.session(seconds) as session:
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
        lane: Its lane.
    """

    is_transcriber = True

    def __init__(self, lane: TranscriberLane) -> None:
        self._lane = lane
        self.model = lane.card.id

    def check(self, language: str, words: Sequence[TextWord]) -> None:  # noqa: ARG002
        """Refuse what can never be done.

        Raises:
            InvalidArgument: The model does not know the language.
        """
        self._lane.model.check(Instructions(language))

    @asynccontextmanager
    async def search(self, seconds: float) -> AsyncIterator[Search]:
        """Admit a recording of about so many seconds.

        Raises:
            Overloaded: There is no room or no time for it.
        """
        # Of a longer one most is found when it is written down, which is admitted by itself.
        async with self._lane.session(min(seconds, WINDOW_SECONDS)) as session:
            yield _AttentionSearch(self._lane, session)


class _AttentionSearch:
    def __init__(self, lane: TranscriberLane, session: Session[Window, Passage | Window]) -> None:
        self._lane, self._session = lane, session

    async def find(self, clip: Clip, words: Sequence[TextWord], language: str) -> tuple[Places, str]:
        text = join(word.text for word in words)
        window = Window(clip.samples, Instructions(language, word_times=True), text=text)
        try:
            passage = await hear(self._session, self._lane.model, window)
        except TooLarge:  # nobody says so much in so short a time: it is not said here
            return [None] * len(words), language
        told = [word for segment in passage.segments for word in segment.words]
        return by_letters([word.key for word in words], told), passage.language


Finder = TrellisFinder | AttentionFinder
