"""Media in and out of a process: what the services and the gateway decode and encode with."""

from servekit.audio import AudioLimits, audio_chunks, claimed_seconds, decode_audio
from servekit.audio_encoder import AUDIO_TYPES, AudioEncoder, encode_audio
from servekit.images import ImageLimits, decode_image

__all__ = [
    "AUDIO_TYPES",
    "AudioEncoder",
    "AudioLimits",
    "ImageLimits",
    "audio_chunks",
    "claimed_seconds",
    "decode_audio",
    "decode_image",
    "encode_audio",
]
