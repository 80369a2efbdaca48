"""Requests and responses of `/v1/audio/emotion`."""

from typing import Literal

from msgspec import Struct

from gateway.schemas.languages import Language


class EmotionForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The form fields next to the `file`; `model` is an acoustic model."""

    language: Language = ""
    model: str = ""


class Likelihood(Struct):
    """A label and its probability."""

    label: str
    probability: float


class SentimentAnswer(Struct):
    """The sentiment of the words, -1 to 1, and its basis; the basis is empty if no lexicon covers the language."""

    score: float
    labels: list[Likelihood]
    basis: str


class ProsodyAnswer(Struct):
    """The prosody of a voice; the pitch is 0 where nothing is voiced."""

    pitch_hertz: float
    pitch_range_semitones: float
    level_db: float
    words_per_second: float


class EmotionSpan(Struct):
    """The emotion of one segment; times in seconds."""

    start: float
    end: float
    text: str
    emotions: list[Likelihood]
    sentiment: SentimentAnswer
    prosody: ProsodyAnswer


class EmotionAnswer(Struct):
    """The emotion of a recording; `basis` says whether an acoustic model or rules recognized it."""

    basis: Literal["acoustic_model", "words_and_prosody"]
    emotions: list[Likelihood]
    sentiment: SentimentAnswer
    segments: list[EmotionSpan]
    language: str
    model: str
