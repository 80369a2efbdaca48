"""A transcript: what was heard of one recording, in the forms that callers ask for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Collection
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from polyphony.speech.v1.speech_pb2 import TranscribeResponse, TranscriptSegment
from polyphony.type.v1.time_span_pb2 import TimeSpan
from starlette.responses import PlainTextResponse, Response

from gateway.formats.languages import name_of
from gateway.formats.subtitles import MEDIA_TYPES, Timed, phrases, subtitles
from gateway.http.responses import Comment, json_response
from gateway.schemas.transcriptions import (
    DiarizedTranscription,
    DurationUsage,
    HeardSoFar,
    SpeakerSegment,
    SpokenSegment,
    SpokenWord,
    TextDelta,
    TextDone,
    Transcription,
    VerboseTranscription,
)
from servekit.media.scripts import is_spaced, join
from servekit.rpc.errors import Unavailable

Task = Literal["transcribe", "translate"]
BROKEN_OFF = "the transcription broke off"


@dataclass(slots=True)
class Transcript:
    """What was heard.

    Attributes:
        language: What was spoken, as an ISO 639-1 code; empty where nobody speaks.
        seconds: How long the recording is.
        segments: In their order.
    """

    language: str = ""
    seconds: float = 0.0
    segments: list[TranscriptSegment] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that was said."""
        return join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class DiarizedSegment:
    """What one speaker says at a stretch, from `start` to `end` seconds."""

    start: float
    end: float
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class DiarizedTranscript:
    """What was heard, by who said it.

    Attributes:
        text: All of it.
        seconds: How long the recording is.
        segments: In their order; a new one for each change of speaker and each phrase.
    """

    text: str
    seconds: float
    segments: list[DiarizedSegment]


def moments(time: TimeSpan) -> tuple[float, float]:
    """When something begins and ends, in seconds, to the millisecond."""
    return round(time.start_seconds, 3), round(time.end_seconds, 3)


async def gather(events: AsyncIterable[TranscribeResponse]) -> Transcript:
    """The events of a transcription as one transcript.

    Raises:
        Unavailable: It broke off.
    """
    heard, finished = Transcript(), False
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                heard.language = event.started.language
            case "segment":
                heard.segments.append(event.segment)
            case "finished":
                heard.seconds, finished = event.finished.duration_seconds, True
    if not finished:
        raise Unavailable(BROKEN_OFF, retry_after=1.0)
    return heard


async def told(events: AsyncIterable[TranscribeResponse]) -> AsyncGenerator[msgspec.Struct | Comment]:
    """The events of a transcription as OpenAI streams them; how far it is stands in comments between them.

    Raises:
        Unavailable: It broke off.
    """
    text, finished = "", False
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                yield Comment(HeardSoFar(0.0, 0.0))
            case "progress":
                yield Comment(HeardSoFar(event.progress.heard_seconds, event.progress.duration_seconds))
            case "segment":
                if said := event.segment.text.strip():
                    delta = f" {said}" if is_spaced(text, said) else said
                    text += delta
                    yield TextDelta(delta)
            case "finished":
                yield TextDone(text, DurationUsage(event.finished.duration_seconds))
                finished = True
    if not finished:
        raise Unavailable(BROKEN_OFF, retry_after=1.0)


async def answer(heard: Transcript, form: str, task: Task, times: Collection[str] = ()) -> Response:
    """A transcript as the body of an answer.

    Args:
        heard: The transcript.
        form: The `response_format`.
        task: What was asked for.
        times: What `verbose_json` is to tell the times of: `segment`, `word`; segments where it is empty.
    """
    if form in MEDIA_TYPES:
        text = await asyncio.to_thread(subtitles, phrases(_timed(heard)), form)
        return PlainTextResponse(text, media_type=MEDIA_TYPES[form])
    if form == "text":
        return PlainTextResponse(f"{heard.text}\n")
    usage = DurationUsage(heard.seconds)
    if form == "json":
        return json_response(Transcription(heard.text, usage))
    language = "english" if task == "translate" else name_of(heard.language)  # as OpenAI's API has it
    told = VerboseTranscription(task, language, heard.seconds, heard.text, usage)
    if not times or "segment" in times:
        told.segments = [_segment(number, segment) for number, segment in enumerate(heard.segments)]
    if "word" in times:
        told.words = [
            SpokenWord(word.text, *moments(word.time), round(word.probability, 4))
            for segment in heard.segments
            for word in segment.words
        ]
    return json_response(told)


def answer_by_speaker(said: DiarizedTranscript) -> Response:
    """What is said and who says it, as the body of an answer."""
    return json_response(
        DiarizedTranscription("transcribe", said.seconds, said.text, _segments(said), DurationUsage(said.seconds))
    )


async def told_by_speaker(said: DiarizedTranscript) -> AsyncGenerator[msgspec.Struct | Comment]:
    """The same as a stream: it is known only when all has been heard."""
    for segment in _segments(said):
        yield segment
    yield TextDone(said.text, DurationUsage(said.seconds))


def _segments(said: DiarizedTranscript) -> list[SpeakerSegment]:
    return [
        SpeakerSegment(f"seg_{number}", round(row.start, 3), round(row.end, 3), row.speaker, row.text)
        for number, row in enumerate(said.segments)
    ]


def _timed(heard: Transcript) -> list[Timed]:
    """The words with their times; of a segment that tells none, the segment."""
    return [
        Timed(piece.time.start_seconds, piece.time.end_seconds, piece.text)
        for segment in heard.segments
        for piece in (segment.words or (segment,))
    ]


def _segment(number: int, segment: TranscriptSegment) -> SpokenSegment:
    return SpokenSegment(
        number,
        *moments(segment.time),
        segment.text,
        round(segment.mean_log_probability, 4),
        round(segment.no_speech_probability, 4),
        round(segment.temperature, 4),
        round(segment.compression_ratio, 4),
    )
