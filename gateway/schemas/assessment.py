"""Requests and responses of `/v1/audio/assess`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gateway.schemas.languages import Language

Verdict = Literal["right", "wrong", "missing", "inserted"]


class AssessmentForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file` of the speaker."""

    reference_text: Annotated[str, Meta(min_length=1)]
    language: Language = ""
    model: str = ""


class AssessmentScores(Struct):
    """The scores, each 0 to 100."""

    accuracy: float
    fluency: float
    completeness: float
    overall: float


class PauseSpan(Struct):
    """A pause; times in seconds."""

    start: float
    end: float


class AssessmentWord(Struct):
    """A word of the reference text, or an inserted word; an omitted word has no times."""

    verdict: Verdict
    text: str
    heard: str
    start: float | None
    end: float | None
    confidence: float


class AssessmentAnswer(Struct):
    """The assessment of a recording."""

    scores: AssessmentScores
    words: list[AssessmentWord]
    transcript: str
    words_per_minute: float
    pauses: list[PauseSpan]
    language: str
    model: str
