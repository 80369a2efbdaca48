"""Requests and responses of `/v1/audio/align`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.schemas.languages import Language


class AlignmentForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of an alignment.

    Attributes:
        text: The words of the recording. Each line becomes a subtitle cue if it is short enough.
    """

    text: Annotated[str, Meta(min_length=1)]
    language: Language = ""
    model: str = ""
    response_format: Literal["json", "srt", "vtt", "lrc"] = "json"


class AlignedWordRow(Struct):
    """One word of the text; times in seconds. With a confidence of 0 it was not found, and its time is estimated."""

    word: str
    start: float
    end: float
    confidence: float
    line: int


class AlignmentAnswer(Struct):
    """The times of the words, in the order of the text."""

    words: list[AlignedWordRow]
    duration: float
    language: str
    model: str
