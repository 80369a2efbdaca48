"""Requests and responses of `/v1/audio/transcriptions` and `/v1/audio/translations`."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.schemas.languages import Language

Temperature = Annotated[float, Meta(ge=0, le=1)]
MAX_KNOWN_SPEAKERS = 8


class ServerVad(Struct, forbid_unknown_fields=True, kw_only=True):
    """The options of voice activity detection."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Meta(ge=0, le=1)] = 0.5
    silence_duration_ms: Annotated[int, Meta(ge=1, le=60_000)] | UnsetType = UNSET
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=10_000)] | UnsetType = UNSET


class AudioForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a transcription or a translation.

    Attributes:
        hotwords: Names and terms to expect; an extension, which OpenAI later named `keywords`.
        vad_filter: Whether silence is removed before the transcription.
        full_window: Whether every window has 30 seconds, as the reference implementation has.
    """

    model: str = ""
    language: Language = ""
    prompt: str = ""
    temperature: Temperature = 0.0
    hotwords: list[str] = []
    keywords: list[str] = []
    chunking_strategy: ServerVad | str = "auto"
    vad_filter: bool = True
    full_window: bool = False


class TranscriptionForm(AudioForm, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a transcription."""

    languages: list[Language] = []
    response_format: Literal["json", "text", "srt", "vtt", "lrc", "verbose_json", "diarized_json"] = "json"
    timestamp_granularities: list[Literal["word", "segment"]] = []
    include: list[Literal["logprobs"]] = []
    known_speaker_names: Annotated[list[str], Meta(max_length=MAX_KNOWN_SPEAKERS)] = []
    known_speaker_references: Annotated[list[str], Meta(max_length=MAX_KNOWN_SPEAKERS)] = []
    stream: bool = False


class TranslationForm(AudioForm, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a translation; `language` is the language of the recording."""

    response_format: Literal["json", "text", "srt", "vtt", "lrc", "verbose_json"] = "json"


class DurationUsage(Struct):
    """The usage of a transcription: seconds of audio."""

    seconds: float
    type: Literal["duration"] = "duration"


class TranscriptionAnswer(Struct):
    """The transcript of a recording."""

    text: str
    usage: DurationUsage


class SpokenSegment(Struct):
    """A segment; times in seconds. Fields that only Whisper has are zero for other models."""

    id: int
    start: float
    end: float
    text: str
    avg_logprob: float
    no_speech_prob: float
    temperature: float
    compression_ratio: float
    seek: int = 0
    tokens: list[int] = []


class SpokenWord(Struct):
    """One word; times in seconds. `probability`, 0 to 1, is an extension."""

    word: str
    start: float
    end: float
    probability: float


class VerboseTranscription(Struct):
    """The transcript of a recording with times; `language` by its English name, empty if there is no speech."""

    task: Literal["transcribe", "translate"]
    language: str
    duration: float
    text: str
    usage: DurationUsage
    segments: list[SpokenSegment] | UnsetType = UNSET
    words: list[SpokenWord] | UnsetType = UNSET


class SpeakerSegment(Struct):
    """A segment of one speaker; times in seconds. Also an event of a stream."""

    id: str
    start: float
    end: float
    speaker: str
    text: str
    type: Literal["transcript.text.segment"] = "transcript.text.segment"


class DiarizedTranscription(Struct):
    """The diarized transcript of a recording."""

    task: Literal["transcribe"]
    duration: float
    text: str
    segments: list[SpeakerSegment]
    usage: DurationUsage


class TextDelta(Struct):
    """A stream event with the next words."""

    delta: str
    type: Literal["transcript.text.delta"] = "transcript.text.delta"


class TextDone(Struct):
    """A stream event with the whole text."""

    text: str
    usage: DurationUsage
    type: Literal["transcript.text.done"] = "transcript.text.done"


class TranscriptionProgress(Struct):
    """A comment of a stream: its progress in seconds of the recording; 0 of 0 if the length is not known."""

    heard_seconds: float
    duration_seconds: float
