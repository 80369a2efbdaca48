"""Requests and responses of `/v1/audio/speech`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.schemas.languages import Language
from servekit.rpc.bounds import SPEED

# The formats of /v1/audio/speech, and of a spoken chat.
MIME_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
    "pcm16": "audio/pcm",
}


class VoiceId(Struct, forbid_unknown_fields=True):
    """A voice by its id, which is its name."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]


class SpeechRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """A request to synthesize a text. `language`, an extension, is an ISO 639-1 code for multilingual voices."""

    input: Annotated[str, Meta(min_length=1)]
    model: str = ""
    voice: str | VoiceId = "default"
    instructions: str = ""
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=SPEED[0], le=SPEED[1])] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"
    language: Language = ""


class SpeechUsage(Struct):
    """The usage of a synthesis: characters in, twentieths of a second out."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDelta(Struct, tag="speech.audio.delta", tag_field="type"):
    """The next bytes of the audio, in base64."""

    audio: str


class SpeechDone(Struct, tag="speech.audio.done", tag_field="type"):
    """The end of the audio."""

    usage: SpeechUsage
