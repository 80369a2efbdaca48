"""Requests and responses of `/v1/audio/voices`."""

from typing import Literal

from msgspec import Struct

from gateway.schemas.languages import Language


class VoiceForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the recording, which is `audio_sample` or `file`.

    `consent` states who agreed, when and how; or it is `true`, and `consent_statement` states this.
    """

    name: str
    consent: str = ""
    consent_statement: str = ""
    text: str = ""
    language: Language = ""
    model: str = ""
    type: Literal["audio_sample"] = "audio_sample"


class VoiceAnswer(Struct):
    """A voice. Its id is its name; `created_at`, in seconds since 1970, is 0 for a voice of the model."""

    id: str
    name: str
    model: str
    languages: list[str]
    created_at: int
    type: Literal["audio_sample", "built_in"]
    object: Literal["audio.voice"] = "audio.voice"


class VoiceList(Struct):
    """The voices that the caller may use, the default first."""

    data: list[VoiceAnswer]
    object: Literal["list"] = "list"


class VoiceDeleted(Struct):
    """The voice that was deleted, with its recording."""

    id: str
    deleted: bool = True
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"
