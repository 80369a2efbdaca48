"""What `/v1/audio/assess` takes and gives."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.schemas.languages import Language

Verdict = Literal["right", "wrong", "missing", "inserted"]


class AssessmentForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the learner's `file`."""

    reference_text: Annotated[str, Meta(min_length=1)]
    language: Language = ""
    model: str = ""


class AssessmentScores(Struct):
    """Each 0 to 100."""

    accuracy: float
    fluency: float
    completeness: float
    overall: float


class PauseSpan(Struct):
    """From when to when, in seconds."""

    start: float
    end: float


class AssessmentWord(Struct):
    """A word of the text, or one that was said beside it; without times where it is missing."""

    verdict: Verdict
    text: str
    heard: str
    start: float | None
    end: float | None
    confidence: float


class AssessmentAnswer(Struct):
    """How well a text was said."""

    scores: AssessmentScores
    words: list[AssessmentWord]
    transcript: str
    words_per_minute: float
    pauses: list[PauseSpan]
    language: str
    model: str
