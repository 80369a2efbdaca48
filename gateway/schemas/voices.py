"""What `/v1/audio/voices` takes and gives."""

from typing import Literal

from msgspec import Struct

from gateway.schemas.languages import Language


class VoiceForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the recording, which is the form's `audio_sample` or `file`.

    `consent` says who agreed, when and how; or it is `true`, and `consent_statement` says so.
    """

    name: str
    consent: str = ""
    consent_statement: str = ""
    text: str = ""
    language: Language = ""
    model: str = ""
    type: Literal["audio_sample"] = "audio_sample"


class VoiceAnswer(Struct):
    """A voice. Its id is its name; `created_at`, in seconds since 1970, is 0 for a model's own."""

    id: str
    name: str
    model: str
    languages: list[str]
    created_at: int
    type: Literal["audio_sample", "built_in"]
    object: Literal["audio.voice"] = "audio.voice"


class VoiceList(Struct):
    """The voices that the caller can speak with, the default first."""

    data: list[VoiceAnswer]
    object: Literal["list"] = "list"


class VoiceDeleted(Struct):
    """A voice is deleted, and its recording with it."""

    id: str
    deleted: bool = True
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
