"""A transcript: what was heard of one recording, in the forms that callers ask for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from polyphony.speech.v1.speech_pb2 import TranscribeResponse, TranscriptSegment
from starlette.responses import PlainTextResponse, Response

from gateway.responses import Comment, json_response
from gateway.schemas.transcriptions import (
    DurationUsage,
    HeardSoFar,
    SpokenSegment,
    SpokenWord,
    TextDelta,
    TextDone,
    Transcription,
    VerboseTranscription,
)
from gateway.subtitles import MEDIA_TYPES, Timed, phrases, subtitles
from gateway.writing import is_spaced, join

Task = Literal["transcribe", "translate"]


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


async def gather(events: AsyncIterator[TranscribeResponse]) -> Transcript:
    """The events of a transcription as one transcript."""
    heard = Transcript()
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                heard.language = event.started.language
            case "segment":
                heard.segments.append(event.segment)
            case "finished":
                heard.seconds = event.finished.duration_seconds
    return heard


async def told(events: AsyncIterator[TranscribeResponse]) -> AsyncGenerator[msgspec.Struct | Comment]:
    """The events of a transcription as OpenAI streams them; how far it is stands in comments between them."""
    text = ""
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
    language = "english" if task == "translate" else heard.language  # as OpenAI's API has it
    told = VerboseTranscription(task, language, heard.seconds, heard.text, usage)
    if not times or "segment" in times:
        told.segments = [_segment(number, segment) for number, segment in enumerate(heard.segments)]
    if "word" in times:
        told.words = [
            SpokenWord(word.text, word.time.start_seconds, word.time.end_seconds)
            for segment in heard.segments
            for word in segment.words
        ]
    return json_response(told)


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
        segment.time.start_seconds,
        segment.time.end_seconds,
        segment.text,
        segment.mean_log_probability,
        segment.no_speech_probability,
        segment.temperature,
        segment.compression_ratio,
    )
