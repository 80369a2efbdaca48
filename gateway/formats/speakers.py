"""Speakers whose voices are known, as forms have them: names, and recordings as data URLs."""

from collections.abc import Sequence

from polyphony.speech.v1.diarization_pb2 import KnownSpeaker
from polyphony.type.v1.media_pb2 import Media

from gateway.auth import Caller
from gateway.media.resolver import InlineSource, parse_media_source
from gateway.models import ModelDirectory
from servekit.rpc.errors import InvalidArgument, Unimplemented

REFERENCE_BYTES = 4 << 20  # of a known speaker: half a minute, uncompressed, as a data URL
LISTS = ("known_speaker_names", "known_speaker_references")
FIELDS = {"known_speakers": "known_speaker_names[]", "known_speakers.audio": "known_speaker_references[]"}


def known_speakers(names: Sequence[str], references: Sequence[str]) -> list[KnownSpeaker]:
    """The speakers of a form.

    Raises:
        InvalidArgument: They are not as many as their recordings, or a recording is no data URL.
    """
    if len(names) != len(references):
        raise InvalidArgument("each known speaker has a name and a reference", field="known_speaker_references")
    return [
        KnownSpeaker(name=name, audio=_recording(reference, f"known_speaker_references[{number}]"))
        for number, (name, reference) in enumerate(zip(names, references, strict=True))
    ]


def _recording(url: str, field: str) -> Media:
    source = parse_media_source(url, field)
    if not isinstance(source, InlineSource):
        raise InvalidArgument(f"{field} must be a data URL", field=field)
    return Media(mime_type=source.mime_type, inline=source.data)


def diarizing_model(models: ModelDirectory, name: str, caller: Caller) -> str:
    """The id of the model that `caller` means by `name`: one that tells speakers apart, or one that knows voices.

    Raises:
        ServeError: As `ModelDirectory.resolve`.
    """
    try:
        return models.resolve("diarize", name, caller)
    except (InvalidArgument, Unimplemented):
        return models.resolve("embed_speaker", name, caller)
