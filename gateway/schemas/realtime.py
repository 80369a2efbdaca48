"""What travels over `/v1/realtime`: OpenAI's events of a transcription session, in the beta's names and today's."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.schemas.errors import ErrorBody
from gateway.schemas.languages import Language

# What clients send.


class Pcm(Struct, tag_field="type", tag="audio/pcm", forbid_unknown_fields=True):
    """16-bit little-endian mono samples."""

    rate: Annotated[int, Meta(ge=8000, le=48000)] = 24000


class MuLaw(Struct, tag_field="type", tag="audio/pcmu", forbid_unknown_fields=True):
    """G.711 mu-law, 8 kHz."""


class ALaw(Struct, tag_field="type", tag="audio/pcma", forbid_unknown_fields=True):
    """G.711 A-law, 8 kHz."""


Format = Pcm | MuLaw | ALaw


class Writing(Struct, forbid_unknown_fields=True):
    """How what is said is written down; `keywords` are names and terms to expect."""

    model: str | UnsetType = UNSET
    language: Language | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    keywords: list[str] | UnsetType = UNSET


class ServerVad(Struct, forbid_unknown_fields=True, tag_field="type", tag="server_vad"):
    """A phrase ends by itself, at a silence. What is about answers, not about words, is taken and does nothing."""

    threshold: Annotated[float, Meta(ge=0.01, le=1)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=1000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=200, le=3000)] = 500
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: None = None


class AudioInput(Struct, forbid_unknown_fields=True):
    """What comes in and how it is heard; `turn_detection` null leaves it to the client to end phrases."""

    format: Format | UnsetType = UNSET
    transcription: Writing | UnsetType = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET
    noise_reduction: UnsetType | None = UNSET


class Audio(Struct, forbid_unknown_fields=True):
    """The sound of a session."""

    input: AudioInput


class Changes(Struct, forbid_unknown_fields=True):
    """What is to change of a session; what is not named stays."""

    type: Literal["transcription"] = "transcription"
    audio: Audio | UnsetType = UNSET
    include: list[str] | None = None


class BetaChanges(Struct, forbid_unknown_fields=True):
    """The same in the names of the beta."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] | UnsetType = UNSET
    input_audio_transcription: Writing | UnsetType = UNSET
    turn_detection: ServerVad | UnsetType | None = UNSET
    input_audio_noise_reduction: UnsetType | None = UNSET
    include: list[str] | None = None
    modalities: list[str] | None = None


class _ClientEvent(Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    event_id: str = ""


class UpdateSession(_ClientEvent, tag="session.update"):
    """Change how the session listens."""

    session: Changes


class UpdateBetaSession(_ClientEvent, tag="transcription_session.update"):
    """The same, as the beta calls it."""

    session: BetaChanges


class Append(_ClientEvent, tag="input_audio_buffer.append"):
    """The next sound, in base64. A binary frame carries the same as it is."""

    audio: str


class Commit(_ClientEvent, tag="input_audio_buffer.commit"):
    """The phrase ends here."""


class Clear(_ClientEvent, tag="input_audio_buffer.clear"):
    """Forget what was sent since the last phrase."""


ClientEvent = UpdateSession | UpdateBetaSession | Append | Commit | Clear

# What is answered.


class _ServerEvent(Struct, tag_field="type", kw_only=True):
    event_id: str = ""


class SessionState(Struct, kw_only=True):
    """A session as it stands."""

    id: str
    expires_at: int
    audio: dict[str, Any]
    object: str = "realtime.transcription_session"
    type: str = "transcription"


class SessionCreated(_ServerEvent, tag="session.created"):
    """The session is open."""

    session: SessionState


class SessionUpdated(_ServerEvent, tag="session.updated"):
    """The session has changed."""

    session: SessionState


class BetaSessionState(Struct, kw_only=True):
    """A session as it stands, in the names of the beta."""

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
    """The session has changed."""

    session: BetaSessionState


class SpeechStarted(_ServerEvent, tag="input_audio_buffer.speech_started"):
    """Somebody begins to speak."""

    audio_start_ms: int
    item_id: str


class SpeechStopped(_ServerEvent, tag="input_audio_buffer.speech_stopped"):
    """The phrase is over."""

    audio_end_ms: int
    item_id: str


class Committed(_ServerEvent, tag="input_audio_buffer.committed"):
    """The phrase is an item of the conversation."""

    item_id: str
    previous_item_id: str | None


class Cleared(_ServerEvent, tag="input_audio_buffer.cleared"):
    """What was sent is forgotten."""


class Delta(_ServerEvent, tag="conversation.item.input_audio_transcription.delta"):
    """Further words that will not change: joined, the deltas of an item are its transcript."""

    item_id: str
    delta: str
    content_index: int = 0


class Tentative(_ServerEvent, tag="polyphony.input_audio_transcription.partial"):
    """Words after those of the deltas, which may change still: each such event replaces the one before it."""

    item_id: str
    text: str


class Heard(Struct):
    """What we know of an item beside its words: when it was said, in seconds of the session; in which language; and
    how long after the end of its speech it was known."""

    start: float
    end: float
    language: str
    latency_ms: int


class Duration(Struct):
    """Seconds of sound."""

    seconds: float
    type: Literal["duration"] = "duration"


class Completed(_ServerEvent, tag="conversation.item.input_audio_transcription.completed"):
    """The words of an item."""

    item_id: str
    transcript: str
    usage: Duration
    polyphony: Heard
    content_index: int = 0


class Failed(_ServerEvent, tag="conversation.item.input_audio_transcription.failed"):
    """The item has no words, since something went wrong."""

    item_id: str
    error: ErrorBody
    content_index: int = 0


class EventError(Struct):
    """What went wrong, and with which of the client's events."""

    message: str
    type: str
    param: str | None
    code: str
    event_id: str | None = None


class Error(_ServerEvent, tag="error"):
    """Something went wrong."""

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
    | Tentative
    | Completed
    | Failed
    | Error
)
