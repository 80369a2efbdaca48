"""What `/v1/audio/speech` takes."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

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


class SpeechRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Asks for a text to be spoken."""

    input: Annotated[str, Meta(min_length=1, max_length=65536)]
    model: str = ""
    voice: str = "default"
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: Annotated[float, Meta(ge=0.25, le=4)] = 1.0
    stream_format: Literal["audio"] = "audio"
