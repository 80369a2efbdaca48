"""The events of `/v1/realtime`: OpenAI's transcription sessions, with the current names and those of the beta."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.schemas.errors import ErrorBody
from gateway.schemas.languages import Language

# Events from clients.


class Pcm(Struct, tag_field="type", tag="audio/pcm", forbid_unknown_fields=True):
    """16-bit little-endian mono samples."""

    rate: Annotated[int, Meta(ge=8000, le=48000)] = 24000


class MuLaw(Struct, tag_field="type", tag="audio/pcmu", forbid_unknown_fields=True):
    """G.711 mu-law, 8 kHz."""


class ALaw(Struct, tag_field="type", tag="audio/pcma", forbid_unknown_fields=True):
    """G.711 A-law, 8 kHz."""


Format = Pcm | MuLaw | ALaw


class TranscriptionConfig(Struct, forbid_unknown_fields=True):
    """The options of the transcription; `keywords` are names and terms to expect."""

    model: str | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    keywords: Annotated[list[str], Meta(max_length=1000)] | UnsetType = UNSET


class ServerVad(Struct, forbid_unknown_fields=True, tag_field="type", tag="server_vad"):
    """An utterance ends at a pause. The options about responses are accepted and have no effect."""

    threshold: Annotated[float, Meta(ge=0.01, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=1000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=200, le=3000)] = 500
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: None = None


class AudioInput(Struct, forbid_unknown_fields=True):
    """The audio and its transcription; with `turn_detection` null the client ends utterances by `commit`."""

    format: Format | UnsetType = UNSET
    transcription: TranscriptionConfig | UnsetType = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET
    noise_reduction: UnsetType | None = UNSET


class Audio(Struct, forbid_unknown_fields=True):
    """The audio of a session."""

    input: AudioInput


class Changes(Struct, forbid_unknown_fields=True):
    """Changes to a session; fields that are absent stay as they are."""

    type: Literal["transcription"] = "transcription"
    audio: Audio | UnsetType = UNSET
    include: list[str] | None = None


class BetaChanges(Struct, forbid_unknown_fields=True):
    """Changes to a session, in the names of the beta."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | UnsetType = UNSET
    input_audio_transcription: TranscriptionConfig | UnsetType = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET
    input_audio_noise_reduction: UnsetType | None = UNSET
    include: list[str] | None = None
    modalities: list[str] | None = None


class _ClientEvent(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    event_id: Annotated[str, Meta(max_length=512)] = ""


class UpdateSession(_ClientEvent, tag="session.update"):
    """Change the configuration of the session."""

    session: Changes


class UpdateBetaSession(_ClientEvent, tag="transcription_session.update"):
    """Change the configuration of the session, in the names of the beta."""

    session: BetaChanges


class Append(_ClientEvent, tag="input_audio_buffer.append"):
    """The next chunk of audio, in base64. A binary frame carries a chunk without it."""

    audio: str


class Commit(_ClientEvent, tag="input_audio_buffer.commit"):
    """End the utterance."""


class Clear(_ClientEvent, tag="input_audio_buffer.clear"):
    """Discard the audio since the last utterance."""


ClientEvent = UpdateSession | UpdateBetaSession | Append | Commit | Clear

# Events from the server.


class _ServerEvent(Struct, tag_field="type", kw_only=True):
    event_id: str = ""


class SessionState(Struct, kw_only=True):
    """The configuration of a session."""

    id: str
    expires_at: int
    audio: dict[str, Any]
    object: str = "realtime.transcription_session"
    type: str = "transcription"


class SessionCreated(_ServerEvent, tag="session.created"):
    """The session is open."""

    session: SessionState


class SessionUpdated(_ServerEvent, tag="session.updated"):
    """The configuration of the session has changed."""

    session: SessionState


class BetaSessionState(Struct, kw_only=True):
    """The configuration of a session, in the names of the beta."""

    id: str
    expires_at: int
    input_audio_format: str
    input_audio_transcription: Any
    turn_detection: ServerVad | None
    object: str = "realtime.transcription_session"


class BetaSessionCreated(_ServerEvent, tag="transcription_session.created"):
    """The session is open."""

    session: BetaSessionState


class BetaSessionUpdated(_ServerEvent, tag="transcription_session.updated"):
    """The configuration of the session has changed."""

    session: BetaSessionState


class SpeechStarted(_ServerEvent, tag="input_audio_buffer.speech_started"):
    """An utterance has begun."""

    audio_start_ms: int
    item_id: str


class SpeechStopped(_ServerEvent, tag="input_audio_buffer.speech_stopped"):
    """An utterance has ended."""

    audio_end_ms: int
    item_id: str


class Committed(_ServerEvent, tag="input_audio_buffer.committed"):
    """An utterance is an item of the conversation."""

    item_id: str
    previous_item_id: str | None


class Cleared(_ServerEvent, tag="input_audio_buffer.cleared"):
    """The audio buffer was cleared."""


class Delta(_ServerEvent, tag="conversation.item.input_audio_transcription.delta"):
    """Final words: the deltas of an item, joined, are its transcript."""

    item_id: str
    delta: str
    content_index: int = 0


class InterimTranscript(_ServerEvent, tag="polyphony.input_audio_transcription.partial"):
    """Interim words after those of the deltas: each such event replaces the one before it."""

    item_id: str
    text: str


class ItemTiming(Struct):
    """The time of an item in seconds of the session, its language, and the milliseconds from the end of its speech to
    its final words."""

    start: float
    end: float
    language: str
    latency_ms: int


class Duration(Struct):
    """The duration of audio in seconds."""

    seconds: float
    type: Literal["duration"] = "duration"


class Completed(_ServerEvent, tag="conversation.item.input_audio_transcription.completed"):
    """The transcript of an item."""

    item_id: str
    transcript: str
    usage: Duration
    polyphony: ItemTiming
    content_index: int = 0


class Failed(_ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    """The transcription of an item failed."""

    item_id: str
    error: ErrorBody
    content_index: int = 0


class EventError(Struct):
    """An error, and the id of the client's event that caused it."""

    message: str
    type: str
    param: str | None
    code: str
    event_id: str | None = None


class Error(_ServerEvent, tag="error"):
    """An event or the session failed."""

    error: EventError


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | BetaSessionCreated
    | BetaSessionUpdated
    | SpeechStarted
    | SpeechStopped
    | Committed
    | Cleared
    | Delta
    | InterimTranscript
    | Completed
    | Failed
    | Error
)
