"""What `/v1/audio/transcriptions` takes and gives."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType


class TranscriptionForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the `file` of a transcription."""

    model: str = ""
    language: Annotated[str, Meta(pattern="^[a-z]{2,3}$")] = ""
    prompt: str = ""
    response_format: Literal["json", "text", "verbose_json"] = "json"
    temperature: Annotated[float, Meta(ge=0, le=1)] = 0.0
    timestamp_granularities: list[Literal["word", "segment"]] = []
    stream: bool = False
    chunking_strategy: str = "auto"


class DurationUsage(Struct):
    """What a transcription is counted by: seconds of sound."""

    seconds: float
    type: Literal["duration"] = "duration"


class Transcription(Struct):
    """The words of a recording."""

    text: str
    usage: DurationUsage


class SpokenSegment(Struct):
    """A phrase or sentence; times in seconds. What only Whisper itself knows stands at zero."""

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float = 0.0
    seek: int = 0
    tokens: list[int] = []


class SpokenWord(Struct):
    """One word; times in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscription(Struct):
    """The words of a recording, and when each is said."""

    task: str
    language: str
    duration: float
    text: str
    segments: list[SpokenSegment]
    usage: DurationUsage
    words: list[SpokenWord] | UnsetType = UNSET
