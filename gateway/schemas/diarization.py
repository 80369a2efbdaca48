"""What `/v1/audio/diarize` takes and gives."""

from typing import Annotated

from msgspec import Meta, Struct

MOST_SPEAKERS = 50


class DiarizationForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the `file` of a diarization.

    Attributes:
        speakers: How many there are; 0 to find out.
        max_speakers: How many are looked for at most; 0 for the service's own bound.
        known_speaker_names: Those whose voices are known.
        known_speaker_references: A recording of each of them, 1 to 30 seconds of speech, as data URLs.
    """

    model: str = ""
    speakers: Annotated[int, Meta(ge=0, le=MOST_SPEAKERS)] = 0
    max_speakers: Annotated[int, Meta(ge=0, le=MOST_SPEAKERS)] = 0
    known_speaker_names: Annotated[list[str], Meta(max_length=MOST_SPEAKERS)] = []
    known_speaker_references: Annotated[list[str], Meta(max_length=MOST_SPEAKERS)] = []


class SpeakerTurnRow(Struct):
    """Somebody speaks from `start` to `end` seconds; `confidence` is how sure it is who, 0 to 1."""

    start: float
    end: float
    speaker: str
    confidence: float


class SpeakerTotal(Struct):
    """Somebody who speaks in a recording, and how long."""

    name: str
    seconds: float


class DiarizationAnswer(Struct):
    """Who speaks when: the turns by their beginnings, the speakers by their first turns."""

    duration: float
    turns: list[SpeakerTurnRow]
    speakers: list[SpeakerTotal]
    model: str
