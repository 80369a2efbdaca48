"""Forced alignment: the RPC Align.

A recording of one window is aligned as it is. A longer one is transcribed first: the recognized words that are also in
the text tell which part of the text belongs to which window, and each window is then aligned with its part.
"""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from polyphony.speech.v1.alignment_pb2 import AlignedWord, AlignRequest, AlignResponse

from servekit.errors import InvalidArgument, TooLarge
from servekit.tasks.repository import Models
from services.speech.alignment import WordTiming
from services.speech.alignment.aligners import AlignerScheduler, AttentionAligner, CtcAligner, RecordingAligner, Timings
from services.speech.alignment.anchors import anchored, complete, recognized_words
from services.speech.audio import SAMPLE_RATE
from services.speech.audio.recording import Recording, Recordings
from services.speech.spans import span
from services.speech.transcription import RecognizedWord, TranscriberScheduler, TranscriptionOptions
from services.speech.transcription.transcription import (
    MIN_COST_SECONDS,
    LongFormTranscriber,
    collect,
    cut,
)
from services.speech.transcription.windows import SpeechWindow, WindowCutter
from services.speech.voice_activity import SpeechDetector
from services.speech.voice_activity.voice_activity import VadOptions, VoiceActivity
from services.speech.words import TextWord, split


class ForcedAlignment:
    """Aligns texts with their recordings.

    Args:
        aligners: The schedulers of the aligners.
        transcribers: The schedulers of the transcribers, used where no aligner supports the language.
        transcription: Transcribes long recordings.
        detector: Detects speech.
        recordings: Opens recordings.
        most_characters: The longest text.
    """

    def __init__(
        self,
        aligners: Models[AlignerScheduler],
        transcribers: Models[TranscriberScheduler],
        transcription: LongFormTranscriber,
        detector: SpeechDetector,
        recordings: Recordings,
        most_characters: int,
    ) -> None:
        self._aligners: list[RecordingAligner] = [*map(CtcAligner, aligners), *map(AttentionAligner, transcribers)]
        self._names, self._transcribers = Models([*aligners, *transcribers]), transcribers
        self._transcription, self._detector, self._recordings = transcription, detector, recordings
        self._most = most_characters

    async def align(self, request: AlignRequest) -> AlignResponse:
        """Handle one request.

        Raises:
            InvalidArgument: The text has no words, the recording has no speech, or the model does not support the
                language.
            TooLarge: The text is too long.
            NotFound: No such model or transcriber is loaded.
            ServeError: See `Recordings.open`, `Recording.chunks` and the models.
        """
        if len(request.text) > self._most:
            raise TooLarge(f"text must have at most {self._most} characters, got {len(request.text)}", field="text")
        words = await asyncio.to_thread(split, request.text)
        if not words:
            raise InvalidArgument("text must contain words", field="text")
        aligner = self._aligner(request, words)
        if request.transcriber:
            self._transcribers.get(request.transcriber, field="transcriber")
        keys = [word.key for word in words]
        async with (
            self._recordings.open(request.audio, "audio") as recording,
            aligner.open(max(recording.claimed_seconds, MIN_COST_SECONDS)) as session,
        ):
            cutter = self._cutter()
            speech_windows = await _first_two(recording, cutter)
            if not speech_windows:
                raise InvalidArgument("the recording must contain speech", field="audio")
            language = request.language
            timings: list[WordTiming | None] = []
            if len(speech_windows) < 2:
                seconds = cutter.received / SAMPLE_RATE
                (speech_window,) = speech_windows
                found, language = await session.align(speech_window, words, language)
                timings += _in_recording(speech_window, found)
            else:
                recognized, language, seconds = await self._transcribe(recording, language, request.transcriber)
                plan = await asyncio.to_thread(_Plan, keys, recognized, seconds)
                async for speech_window, part, found in plan.parts(recording, self._cutter()):
                    if not (found and aligner.is_transcriber) and words[part]:
                        found, _ = await session.align(speech_window, words[part], language)
                    timings += _in_recording(speech_window, found)
            timings += [None] * (len(words) - len(timings))
        whole = await asyncio.to_thread(complete, timings, keys, seconds)
        return AlignResponse(
            words=[_message(word, timing) for word, timing in zip(words, whole, strict=True)],
            duration_seconds=seconds,
            language=language,
            model=aligner.model,
        )

    def _aligner(self, request: AlignRequest, words: Sequence[TextWord]) -> RecordingAligner:
        """The aligner that the request names, or the first that supports its language and letters."""
        name = self._names.get(request.model).spec.id
        aligners = [aligner for aligner in self._aligners if aligner.model == name] if request.model else self._aligners
        for aligner in aligners[:-1]:
            try:
                aligner.check(request.language, words)
            except InvalidArgument:
                continue
            return aligner
        aligners[-1].check(request.language, words)
        return aligners[-1]

    def _cutter(self) -> WindowCutter:
        return WindowCutter(VoiceActivity(self._detector, VadOptions()))

    async def _transcribe(
        self, recording: Recording, language: str, model: str
    ) -> tuple[list[RecognizedWord], str, float]:
        """The recognized words, the language, and the duration of the recording."""
        options = TranscriptionOptions(language, word_times=True)
        started, segments, finished = await collect(self._transcription.transcribe(recording, options, model))
        return [word for segment in segments for word in segment.words], started.language, finished.duration


class _Plan:
    """Which part of a text belongs to which window.

    Args:
        keys: The words of the text.
        recognized: The recognized words of the recording.
        seconds: The duration of the recording.
    """

    def __init__(self, keys: Sequence[str], recognized: Sequence[RecognizedWord], seconds: float) -> None:
        self._keys = keys
        self._recognized, self._timings = recognized_words(recognized)
        guesses = complete(anchored(keys, self._recognized, self._timings), keys, seconds)
        self._times = [(timing.start + timing.end) / 2 for timing in guesses]
        self._recognized_times = [(timing.start + timing.end) / 2 for timing in self._timings]

    async def parts(
        self, recording: Recording, cutter: WindowCutter
    ) -> AsyncGenerator[tuple[SpeechWindow, slice, Timings], None]:
        """The windows with their words, in order.

        Yields:
            A window, its words and, if these are exactly the recognized ones, their timings.
        """
        word = at = 0
        async with aclosing(_speech_windows(recording, cutter)) as speech_windows:
            speech_window = await anext(speech_windows, None)
            while speech_window:
                after = await anext(speech_windows, None)
                end = speech_window.spans[-1].end / SAMPLE_RATE
                until = bisect_left(self._times, end, word) if after else len(self._keys)
                at_end = bisect_left(self._recognized_times, end, at) if after else len(self._recognized)
                same = self._recognized[at:at_end] == self._keys[word:until]
                known = [_in_window(speech_window, timing) for timing in self._timings[at:at_end]] if same else []
                yield speech_window, slice(word, until), known
                speech_window, word, at = after, until, at_end


async def _speech_windows(recording: Recording, cutter: WindowCutter) -> AsyncGenerator[SpeechWindow, None]:
    async with aclosing(cut(recording, cutter)) as speech_windows:
        async for speech_window in speech_windows:
            if speech_window:
                yield speech_window


async def _first_two(recording: Recording, cutter: WindowCutter) -> list[SpeechWindow]:
    """The first two windows of a recording; with fewer, the recording has been read to its end."""
    found: list[SpeechWindow] = []
    async with aclosing(_speech_windows(recording, cutter)) as speech_windows:
        async for speech_window in speech_windows:
            found.append(speech_window)
            if len(found) == 2:
                break
    return found


def _in_recording(speech_window: SpeechWindow, found: Timings) -> Timings:
    """Timings in a window as timings in the recording."""
    return [
        timing and WordTiming(*speech_window.word_times(timing.start, timing.end), timing.confidence)
        for timing in found
    ]


def _in_window(speech_window: SpeechWindow, timing: WordTiming) -> WordTiming:
    """A timing in the recording as a timing in a window."""
    start, end = (
        sum(min(max(seconds * SAMPLE_RATE - span.start, 0.0), len(span)) for span in speech_window.spans) / SAMPLE_RATE
        for seconds in (timing.start, timing.end)
    )
    return WordTiming(start, end, timing.confidence)


def _message(word: TextWord, timing: WordTiming) -> AlignedWord:
    time = span(timing.start, timing.end)
    return AlignedWord(time=time, text=word.text, confidence=min(max(timing.confidence, 0.0), 1.0), line=word.line)
