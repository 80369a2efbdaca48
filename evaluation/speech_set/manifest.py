"""What a made set holds: one file a clip, and `manifest.json` that says what is in each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = "manifest.json"

Condition = Literal[
    "clean", "people", "short", "noisy", "pauses", "two speakers", "overlap", "noisy speakers", "conversation",
    "one speaker", "no speech",
]  # fmt: skip
Noise = Literal["", "white", "babble", "hum"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimedWord(_Row):
    """A word as it stands in the text, and when the synthesiser that said it said so, in seconds."""

    text: str
    start: float
    end: float


class SpeakerTurn(_Row):
    """Who speaks from when to when, in seconds, and what they say."""

    speaker: str
    start: float
    end: float
    text: str


class EvaluationClip(_Row):
    """One recording.

    Attributes:
        id: Its name, which is also its file's.
        text: All that is said in it, turn by turn; empty where nobody speaks.
        language: As an ISO 639-1 code; empty where nobody speaks.
        voices: Who speaks: the names of voices, or of people.
        condition: What is hard about it.
        noise: What was added.
        snr_db: Speech over noise, in dB: the mean power while somebody speaks over that of the noise.
        clean: The id of the clip that this is without its noise; empty if it is no such clip.
        seconds: Its length.
        turns: In the order of their beginnings; they may overlap.
        words: Where the synthesiser says when each is said: as many as the text has, split at spaces.
        origin: Where the speech comes from.
        licence: Under which.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    text: str
    language: str = Field(pattern="^([a-z]{2})?$")
    voices: tuple[str, ...]
    condition: Condition
    noise: Noise = ""
    snr_db: float | None = None
    clean: str = ""
    seconds: float = Field(gt=0)
    turns: tuple[SpeakerTurn, ...] = ()
    words: tuple[TimedWord, ...] = ()
    origin: str = Field(min_length=1)
    licence: str = Field(min_length=1)

    @property
    def file(self) -> str:
        """Its name in the folder."""
        return f"{self.id}.flac"

    @property
    def label(self) -> str:
        """Its condition with its noise, for tables."""
        return f"{self.condition}, {self.noise} {self.snr_db:g} dB" if self.snr_db is not None else self.condition

    @model_validator(mode="after")
    def _words_are_those_of_the_text(self) -> Self:
        if self.words and [word.text for word in self.words] != self.text.split():
            raise ValueError(f"{self.id}: its words are not those of its text")
        return self


class Manifest(_Row):
    """A made set.

    Attributes:
        clips: What it holds.
        missing: What it lacks, with what would have to be installed.
    """

    clips: tuple[EvaluationClip, ...]
    missing: tuple[str, ...] = ()


def read(folder: Path) -> Manifest:
    """The set in a folder.

    Raises:
        OSError: There is none.
        ValueError: It is something else.
    """
    return Manifest.model_validate_json((folder / NAME).read_text())


def write(folder: Path, clips: Sequence[EvaluationClip], missing: Sequence[str]) -> None:
    """Say what is in a folder."""
    manifest = Manifest(clips=tuple(clips), missing=tuple(missing))
    (folder / NAME).write_text(manifest.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def rttm(clip: EvaluationClip) -> str:
    """The turns as Rich Transcription Time Marked lines (NIST RT-09, appendix A)."""
    form = "SPEAKER {} 1 {:.3f} {:.3f} <NA> <NA> {} <NA> <NA>"
    return "".join(form.format(clip.id, turn.start, turn.end - turn.start, turn.speaker) + "\n" for turn in clip.turns)
