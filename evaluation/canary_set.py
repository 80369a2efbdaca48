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
    """One item of the canary set, with a label and the expected answer for reports."""

    @property
    @abstractmethod
    def label(self) -> str:
        """The label in reports."""

    @property
    @abstractmethod
    def expected(self) -> str:
        """The expected answer."""


class MediaItem(CanaryItem):
    """A recording or an image with its text.

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
    """A question with the name of the only passage that answers it."""

    question: str = Field(min_length=1)
    passage: str

    @property
    def label(self) -> str:
        return self.question

    @property
    def expected(self) -> str:
        return self.passage


class SearchSet(_Row):
    """Passages by name, queries about them, and the k of recall at k."""

    k: int = Field(ge=1)
    passages: Mapping[str, str] = Field(min_length=1)
    queries: tuple[SearchItem, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _answers_exist(self) -> Self:
        if absent := {query.passage for query in self.queries} - self.passages.keys():
            raise ValueError(f"no passage is named {', '.join(sorted(absent))}")
        return self


class ChatItem(CanaryItem):
    """A question about a context; an answer is correct if it says one of `any_of`."""

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
    """A text to be synthesized and transcribed."""

    text: str = Field(min_length=1)

    @property
    def label(self) -> str:
        return self.text

    @property
    def expected(self) -> str:
        return self.text


class CanarySet(_Row):
    """The canary set, by task."""

    transcribe: tuple[MediaItem, ...] = Field(min_length=1)
    read_text: tuple[MediaItem, ...] = Field(min_length=1)
    search: SearchSet
    chat: tuple[ChatItem, ...] = Field(min_length=1)
    speak: tuple[SpeechItem, ...] = Field(min_length=1)


def read() -> CanarySet:
    """Read the set of the folder."""
    return CanarySet.model_validate(tomllib.loads((FOLDER / "canary.toml").read_text()))
