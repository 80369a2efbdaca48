"""What `/v1/audio/emotion` takes and gives."""

from typing import Literal

from msgspec import Struct

from gateway.schemas.languages import Language


class EmotionForm(Struct, forbid_unknown_fields=True, kw_only=True):
    """The small fields beside the `file`; `model` is an acoustic one."""

    language: Language = ""
    model: str = ""


class Likelihood(Struct):
    """A label and how probable it is."""

    label: str
    probability: float


class SentimentAnswer(Struct):
    """The sentiment of words, -1 to 1, and what told it; without a basis no lexicon knows the language."""

    score: float
    labels: list[Likelihood]
    basis: str


class ProsodyAnswer(Struct):
    """How a voice sounds; a pitch of 0 where nothing is voiced."""

    pitch_hertz: float
    pitch_range_semitones: float
    level_db: float
    words_per_second: float


class EmotionSpan(Struct):
    """One segment; times in seconds."""

    start: float
    end: float
    text: str
    emotions: list[Likelihood]
    sentiment: SentimentAnswer
    prosody: ProsodyAnswer


class EmotionAnswer(Struct):
    """The emotion of a recording; `basis` says whether a network heard it or a rule told it."""

    basis: Literal["acoustic_model", "words_and_prosody"]
    emotions: list[Likelihood]
    sentiment: SentimentAnswer
    segments: list[EmotionSpan]
    language: str
    model: str
