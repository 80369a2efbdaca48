"""Alignment: when each word of a known text is said in its recording.

A recording of one window is aligned as it is. A longer one is written down first: the words that are heard and stand
in the text tell which part of the text is said in which window, and each window is then aligned with its part.
"""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from polyphony.speech.v1.alignment_pb2 import AlignedWord, AlignRequest, AlignResponse

from servekit.models.repository import Models
from servekit.rpc.errors import InvalidArgument, TooLarge
from services.speech.alignment import Place
from services.speech.alignment.anchors import anchored, complete, heard_words
from services.speech.alignment.finders import AlignerScheduler, AttentionFinder, Finder, Places, TrellisFinder
from services.speech.audio.recording import Recording, Recordings
from services.speech.spans import span
from services.speech.transcription import LISTENING_RATE, Instructions, TranscriberScheduler, Word
from services.speech.transcription.transcription import (
    LEAST_SECONDS,
    Transcription,
    cut,
    gathered,
)
from services.speech.transcription.windows import Clip, WindowCutter
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import Sensitivity, VoiceActivity
from services.speech.words import TextWord, split


class Alignment:
    """Finds the words of texts in their recordings.

    Args:
        aligners: Models that do nothing else.
        transcribers: Models that can be told what is said; asked where no aligner knows the language.
        transcription: Writes down long recordings.
        detector: Tells speech from silence.
        recordings: Opens recordings.
        most_characters: Of a text.
    """

    def __init__(
        self,
        aligners: Models[AlignerScheduler],
        transcribers: Models[TranscriberScheduler],
        transcription: Transcription,
        detector: SpeechDetector,
        recordings: Recordings,
        most_characters: int,
    ) -> None:
        self._finders: list[Finder] = [*map(TrellisFinder, aligners), *map(AttentionFinder, transcribers)]
        self._names = Models([*aligners, *transcribers])
        self._transcription, self._detector, self._recordings = transcription, detector, recordings
        self._most = most_characters

    async def align(self, request: AlignRequest) -> AlignResponse:
        """Answer one request.

        Raises:
            InvalidArgument: The text has no words, nobody speaks in the recording, or the model does not know the
                language.
            TooLarge: The text is too long.
            NotFound: No such model is loaded.
            ServeError: As `Recordings.open`, `Recording.chunks` and the models say.
        """
        if len(request.text) > self._most:
            raise TooLarge(f"{len(request.text)} characters, at most {self._most} are accepted", field="text")
        words = await asyncio.to_thread(split, request.text)
        if not words:
            raise InvalidArgument("there are no words in the text", field="text")
        finder = self._finder(request, words)
        keys = [word.key for word in words]
        async with (
            self._recordings.open(request.audio, "audio") as recording,
            finder.search(max(recording.claimed_seconds, LEAST_SECONDS)) as search,
        ):
            cutter = self._cutter()
            clips = await _first_two(recording, cutter)
            if not clips:
                raise InvalidArgument("nobody is heard to speak in it, so no word has a time", field="audio")
            language = request.language
            places: list[Place | None] = []
            if len(clips) < 2:
                seconds = cutter.heard / LISTENING_RATE
                (clip,) = clips
                found, language = await search.find(clip, words, language)
                places += _settled(clip, found)
            else:
                heard, language, seconds = await self._listen(recording, language)
                plan = await asyncio.to_thread(_Plan, keys, heard, seconds)
                async for clip, part, found in plan.parts(recording, self._cutter()):
                    if not (found and finder.is_transcriber) and words[part]:
                        found, _ = await search.find(clip, words[part], language)
                    places += _settled(clip, found)
            places += [None] * (len(words) - len(places))
        whole = await asyncio.to_thread(complete, places, keys, seconds)
        return AlignResponse(
            words=[_message(word, place) for word, place in zip(words, whole, strict=True)],
            duration_seconds=seconds,
            language=language,
            model=finder.model,
        )

    def _finder(self, request: AlignRequest, words: Sequence[TextWord]) -> Finder:
        """What the request names, or the first that knows its language and letters."""
        name = self._names.get(request.model).spec.id
        finders = [finder for finder in self._finders if finder.model == name] if request.model else self._finders
        for finder in finders[:-1]:
            try:
                finder.check(request.language, words)
            except InvalidArgument:
                continue
            return finder
        finders[-1].check(request.language, words)
        return finders[-1]

    def _cutter(self) -> WindowCutter:
        return WindowCutter(VoiceActivity(self._detector, Sensitivity()))

    async def _listen(self, recording: Recording, language: str) -> tuple[list[Word], str, float]:
        """The words that are heard, the language, and how long the recording is."""
        instructions = Instructions(language, word_times=True)
        started, segments, finished = await gathered(self._transcription.hear(recording, instructions))
        return [word for segment in segments for word in segment.words], started.language, finished.duration


class _Plan:
    """Which part of a text is said in which clip.

    Args:
        keys: The words of the text.
        heard: The words that were heard in all of the recording.
        seconds: How long that is.
    """

    def __init__(self, keys: Sequence[str], heard: Sequence[Word], seconds: float) -> None:
        self._keys = keys
        self._heard, self._places = heard_words(heard)
        guesses = complete(anchored(keys, self._heard, self._places), keys, seconds)
        self._moments = [(place.start + place.end) / 2 for place in guesses]
        self._heard_moments = [(place.start + place.end) / 2 for place in self._places]

    async def parts(
        self, recording: Recording, cutter: WindowCutter
    ) -> AsyncGenerator[tuple[Clip, slice, Places], None]:
        """The clips with their words, all of these and in order.

        Yields:
            A clip, the words that are said in it and, if these are just the ones that were heard, where in it.
        """
        word = at = 0
        async with aclosing(_clips(recording, cutter)) as clips:
            clip = await anext(clips, None)
            while clip:
                after = await anext(clips, None)
                end = clip.spans[-1].end / LISTENING_RATE
                until = bisect_left(self._moments, end, word) if after else len(self._keys)
                at_end = bisect_left(self._heard_moments, end, at) if after else len(self._heard)
                same = self._heard[at:at_end] == self._keys[word:until]
                known = [_in_clip(clip, place) for place in self._places[at:at_end]] if same else []
                yield clip, slice(word, until), known
                clip, word, at = after, until, at_end


async def _clips(recording: Recording, cutter: WindowCutter) -> AsyncGenerator[Clip, None]:
    async with aclosing(cut(recording, cutter)) as clips:
        async for clip in clips:
            if clip:
                yield clip


async def _first_two(recording: Recording, cutter: WindowCutter) -> list[Clip]:
    """The first clips of a recording; if there are less than two, it has been read to its end."""
    found: list[Clip] = []
    async with aclosing(_clips(recording, cutter)) as clips:
        async for clip in clips:
            found.append(clip)
            if len(found) == 2:
                break
    return found


def _settled(clip: Clip, found: Places) -> Places:
    """Places in a clip as places in its recording."""
    return [place and Place(*clip.place_whole(place.start, place.end), place.confidence) for place in found]


def _in_clip(clip: Clip, place: Place) -> Place:
    """A place in the recording as one in a clip of it."""
    start, end = (
        sum(min(max(seconds * LISTENING_RATE - span.start, 0.0), len(span)) for span in clip.spans) / LISTENING_RATE
        for seconds in (place.start, place.end)
    )
    return Place(start, end, place.confidence)


def _message(word: TextWord, place: Place) -> AlignedWord:
    time = span(place.start, place.end)
    return AlignedWord(time=time, text=word.text, confidence=min(max(place.confidence, 0.0), 1.0), line=word.line)
