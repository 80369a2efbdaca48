"""What `/v1/audio/align` takes and gives."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.schemas.languages import Language


class AlignmentForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the `file`.

    Attributes:
        text: What is said in it, word for word. Its lines stay cues of subtitles where they are short enough.
    """

    text: Annotated[str, Meta(min_length=1)]
    language: Language = ""
    model: str = ""
    response_format: Literal["json", "srt", "vtt", "lrc"] = "json"


class AlignedWordRow(Struct):
    """One word of the text; times in seconds. A confidence of 0 says that it was not found, and its time is a guess."""

    word: str
    start: float
    end: float
    confidence: float
    line: int


class AlignmentAnswer(Struct):
    """When each word of the text is said, in the order of the text."""

    words: list[AlignedWordRow]
    duration: float
    language: str
    model: str
