"""The transcript of a recording, and its structures in the HTTP interface."""

from collections.abc import AsyncIterable, Collection
from dataclasses import dataclass, field
from typing import Literal

from polyphony.speech.v1.transcription_pb2 import TranscribeResponse, TranscriptSegment
from polyphony.type.v1.time_span_pb2 import TimeSpan

from gateway.formats.languages import name_of
from gateway.formats.subtitles import Timed, phrases
from gateway.schemas.transcriptions import (
    DurationUsage,
    SpeakerSegment,
    SpokenSegment,
    SpokenWord,
    VerboseTranscription,
)
from servekit.media.scripts import join

Task = Literal["transcribe", "translate"]


@dataclass(slots=True)
class Transcript:
    """The transcript of a recording.

    Attributes:
        language: The ISO 639-1 code of the spoken language; empty where there is no speech.
        seconds: The length of the recording.
        segments: The segments, in the order of time.
    """

    language: str = ""
    seconds: float = 0.0
    segments: list[TranscriptSegment] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of all segments."""
        return join(segment.text for segment in self.segments)


@dataclass(frozen=True, slots=True)
class DiarizedSegment:
    """The words of one speaker, from `start` to `end` seconds."""

    start: float
    end: float
    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class DiarizedTranscript:
    """The transcript of a recording, divided by speaker.

    Attributes:
        text: The whole text.
        seconds: The length of the recording.
        segments: The segments, in the order of time; each change of speaker begins a new one.
    """

    text: str
    seconds: float
    segments: list[DiarizedSegment]


def rounded_span(time: TimeSpan) -> tuple[float, float]:
    """The start and the end of a time span, in seconds, rounded to the millisecond."""
    return round(time.start_seconds, 3), round(time.end_seconds, 3)


async def gather(events: AsyncIterable[TranscribeResponse]) -> Transcript:
    """The events of a completed transcription as one transcript."""
    transcript = Transcript()
    async for event in events:
        match event.WhichOneof("event"):
            case "started":
                transcript.language = event.started.language
            case "segment":
                transcript.segments.append(event.segment)
            case "finished":
                transcript.seconds = event.finished.duration_seconds
    return transcript


def verbose_transcription(
    transcript: Transcript, task: Task, granularities: Collection[str] = ()
) -> VerboseTranscription:
    """A transcript as `verbose_json`.

    Args:
        transcript: The transcript.
        task: The task that was asked for.
        granularities: What to give the times of, of `segment` and `word`; segments where it is empty.
    """
    language = "english" if task == "translate" else name_of(transcript.language)  # as OpenAI's API has it
    usage = DurationUsage(transcript.seconds)
    verbose = VerboseTranscription(task, language, transcript.seconds, transcript.text, usage)
    if not granularities or "segment" in granularities:
        verbose.segments = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
    if "word" in granularities:
        verbose.words = [
            SpokenWord(word.text, *rounded_span(word.time), round(word.probability, 4))
            for segment in transcript.segments
            for word in segment.words
        ]
    return verbose


def speaker_segments(transcript: DiarizedTranscript) -> list[SpeakerSegment]:
    """The segments of a transcript as `diarized_json` has them."""
    return [
        SpeakerSegment(f"seg_{number}", round(row.start, 3), round(row.end, 3), row.speaker, row.text)
        for number, row in enumerate(transcript.segments)
    ]


def timed_phrases(transcript: Transcript) -> list[list[Timed]]:
    """The words with their times, divided at pauses; of a segment without word times, the whole segment."""
    return phrases(
        Timed(piece.time.start_seconds, piece.time.end_seconds, piece.text)
        for segment in transcript.segments
        for piece in (segment.words or (segment,))
    )


def _segment(number: int, segment: TranscriptSegment) -> SpokenSegment:
    return SpokenSegment(
        number,
        *rounded_span(segment.time),
        segment.text,
        round(segment.mean_log_probability, 4),
        round(segment.no_speech_probability, 4),
        round(segment.temperature, 4),
        round(segment.compression_ratio, 4),
    )
