"""The canary set: `evaluation/canary/canary.toml` and the media beside it."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FOLDER = Path(__file__).parent / "canary"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CanaryItem(_Row, ABC):
    """One thing that is asked; for people, `label` says what and `expected` what is right."""

    @property
    @abstractmethod
    def label(self) -> str:
        """What is asked."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """What is right."""


class MediaItem(CanaryItem):
    """A recording or a picture, and what it says.

    Attributes:
        file: Its name in the folder.
        text: What is said or printed in it.
        origin: Where it comes from, or that it was made and how.
        licence: Under which it is passed on.
    """

    file: str = Field(pattern=r"^[a-z0-9-]+\.(opus|jpg|png)$")
    text: str = Field(min_length=1)
    origin: str = Field(min_length=1)
    licence: str = Field(min_length=1)

    @property
    def label(self) -> str:
        return self.file

    @property
    def expected(self) -> str:
        return self.text


class SearchItem(CanaryItem):
    """A question, and the name of the one passage that answers it."""

    question: str = Field(min_length=1)
    passage: str

    @property
    def label(self) -> str:
        return self.question

    @property
    def expected(self) -> str:
        return self.passage


class SearchSet(_Row):
    """Passages by name, queries about them, and among how many of the first the right one counts as found."""

    k: int = Field(ge=1)
    passages: Mapping[str, str] = Field(min_length=1)
    queries: tuple[SearchItem, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _answers_exist(self) -> Self:
        if absent := {query.passage for query in self.queries} - self.passages.keys():
            raise ValueError(f"no passage is named {', '.join(sorted(absent))}")
        return self


class ChatItem(CanaryItem):
    """A question about a context; an answer is right that says one of `any_of`."""

    context: str = Field(min_length=1)
    question: str = Field(min_length=1)
    any_of: tuple[str, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        return self.question

    @property
    def expected(self) -> str:
        return " or ".join(self.any_of)


class SpeechItem(CanaryItem):
    """A text to be spoken and read back."""

    text: str = Field(min_length=1)

    @property
    def label(self) -> str:
        return self.text

    @property
    def expected(self) -> str:
        return self.text


class CanarySet(_Row):
    """What is replayed, by task."""

    transcribe: tuple[MediaItem, ...] = Field(min_length=1)
    read_text: tuple[MediaItem, ...] = Field(min_length=1)
    search: SearchSet
    chat: tuple[ChatItem, ...] = Field(min_length=1)
    speak: tuple[SpeechItem, ...] = Field(min_length=1)


def read() -> CanarySet:
    """The set as it stands in the folder."""
    return CanarySet.model_validate(tomllib.loads((FOLDER / "canary.toml").read_text()))
