"""The known speakers of a form: names, and reference recordings as data URLs."""

import asyncio
from collections.abc import Sequence

from polyphony.speech.v1.diarization_pb2 import KnownSpeaker
from polyphony.type.v1.media_pb2 import Media

from gateway.auth import Caller
from gateway.media.resolver import InlineSource, parse_media_source
from gateway.models import ModelDirectory
from servekit.errors import InvalidArgument, Unimplemented

REFERENCE_BYTES = 4 << 20  # of one reference: half a minute of uncompressed audio, as a data URL
LISTS = ("known_speaker_names", "known_speaker_references")
FIELDS = {"known_speakers": "known_speaker_names[]", "known_speakers.audio": "known_speaker_references[]"}


async def known_speakers(names: Sequence[str], references: Sequence[str]) -> list[KnownSpeaker]:
    """The known speakers of a form, whose references are decoded one by one in a thread.

    Raises:
        InvalidArgument: There are not as many references as names, or a reference is not a data URL.
    """
    if len(names) != len(references):
        raise InvalidArgument(
            "known_speaker_references must be one for each of known_speaker_names", field="known_speaker_references"
        )
    return [
        KnownSpeaker(
            name=name, audio=await asyncio.to_thread(_recording, reference, f"known_speaker_references[{number}]")
        )
        for number, (name, reference) in enumerate(zip(names, references, strict=True))
    ]


def _recording(url: str, field: str) -> Media:
    source = parse_media_source(url, field)
    if not isinstance(source, InlineSource):
        raise InvalidArgument(f"{field} must be a data URL", field=field)
    return Media(mime_type=source.mime_type, inline=source.data)


def diarizing_model(models: ModelDirectory, name: str, caller: Caller) -> str:
    """The id of the model that `name` stands for: a diarizer, or a speaker encoder whose embeddings are clustered.

    Raises:
        ServeError: As `ModelDirectory.resolve`.
    """
    try:
        return models.resolve("diarize", name, caller)
    except (InvalidArgument, Unimplemented):
        return models.resolve("embed_speaker", name, caller)
