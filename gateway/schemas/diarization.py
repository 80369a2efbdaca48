"""Requests and responses of `/v1/audio/diarize`."""

from typing import Annotated

from msgspec import Meta, Struct

MAX_SPEAKERS = 50


class DiarizationForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of a diarization.

    Attributes:
        speakers: The number of speakers; 0 if it is not known.
        max_speakers: The most speakers to find; 0 for the service's limit.
        known_speaker_names: The names of speakers whose voices are known.
        known_speaker_references: A data URL with 1 to 30 seconds of speech for each of these names.
    """

    model: str = ""
    speakers: Annotated[int, Meta(ge=0, le=MAX_SPEAKERS)] = 0
    max_speakers: Annotated[int, Meta(ge=0, le=MAX_SPEAKERS)] = 0
    known_speaker_names: Annotated[list[str], Meta(max_length=MAX_SPEAKERS)] = []
    known_speaker_references: Annotated[list[str], Meta(max_length=MAX_SPEAKERS)] = []


class SpeakerTurnRow(Struct):
    """A turn of a speaker, from `start` to `end` seconds; `confidence` in the speaker, 0 to 1."""

    start: float
    end: float
    speaker: str
    confidence: float


class SpeakerTotal(Struct):
    """A speaker of a recording, and the seconds of speech."""

    name: str
    seconds: float


class DiarizationAnswer(Struct):
    """The turns in the order of their starts, and the speakers in the order of their first turns."""

    duration: float
    turns: list[SpeakerTurnRow]
    speakers: list[SpeakerTotal]
    model: str
