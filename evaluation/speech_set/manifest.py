"""The content of a set: one file for each clip, and `manifest.json`, which describes them."""

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
    """A word of the text with its times from the synthesizer, in seconds."""

    text: str
    start: float
    end: float


class SpeakerTurn(_Row):
    """A turn: speaker, start and end in seconds, and text."""

    speaker: str
    start: float
    end: float
    text: str


class EvaluationClip(_Row):
    """A clip of the evaluation set.

    Attributes:
        id: The name, as in the file name.
        text: The text of all turns; empty without speech.
        language: The ISO 639-1 code; empty without speech.
        voices: The names of voices or people.
        condition: The acoustic or linguistic condition.
        noise: The added noise.
        snr_db: Speech over noise, in dB: the mean power while somebody speaks over that of the noise.
        clean: The id of the clean version of this clip; empty if there is none.
        seconds: The duration.
        turns: The turns in the order of their starts; they may overlap.
        words: The words with times, if the synthesizer reports them: as many as the text has, split at spaces.
        origin: The source of the speech.
        licence: The licence of the speech.
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
        """The file name."""
        return f"{self.id}.flac"

    @property
    def label(self) -> str:
        """The condition with the noise, for tables."""
        return f"{self.condition}, {self.noise} {self.snr_db:g} dB" if self.snr_db is not None else self.condition

    @model_validator(mode="after")
    def _words_are_those_of_the_text(self) -> Self:
        if self.words and [word.text for word in self.words] != self.text.split():
            raise ValueError(f"{self.id}: words must match the text")
        return self


class Manifest(_Row):
    """A set that was built.

    Attributes:
        clips: The clips.
        missing: The missing parts, with the packages to install.
    """

    clips: tuple[EvaluationClip, ...]
    missing: tuple[str, ...] = ()


def read(folder: Path) -> Manifest:
    """Read the set of a folder.

    Raises:
        OSError: There is none.
        ValueError: It is something else.
    """
    return Manifest.model_validate_json((folder / NAME).read_text())


def write(folder: Path, clips: Sequence[EvaluationClip], missing: Sequence[str]) -> None:
    """Write the manifest of a folder."""
    manifest = Manifest(clips=tuple(clips), missing=tuple(missing))
    (folder / NAME).write_text(manifest.model_dump_json(indent=1, exclude_defaults=True) + "\n")


def rttm(clip: EvaluationClip) -> str:
    """The turns as Rich Transcription Time Marked lines (NIST RT-09, appendix A)."""
    form = "SPEAKER {} 1 {:.3f} {:.3f} <NA> <NA> {} <NA> <NA>"
    return "".join(form.format(clip.id, turn.start, turn.end - turn.start, turn.speaker) + "\n" for turn in clip.turns)
