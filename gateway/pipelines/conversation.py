"""A composed conversation: what is asked, and the events of its answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from polyphony.generation.v1.generation_pb2 import TextFormat

from gateway.media.resolver import MediaSource
from gateway.pipelines.prompt import Role
from gateway.pipelines.steps import Step


@dataclass(frozen=True, slots=True)
class Medium:
    """An image or a recording within a turn.

    Attributes:
        kind: Which of them.
        located: Where it is.
        field: What to name where it is at fault.
    """

    kind: Literal["image", "recording"]
    located: MediaSource
    field: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: what is said and shown, in order."""

    role: Role
    parts: Sequence[str | Medium]


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Which vector stores to search, and how many passages to use; 0 for the default."""

    store_ids: Sequence[str]
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Spoken:
    """How to speak the answer."""

    voice: str
    mime_type: str


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """One composed request, whichever way it came.

    Attributes:
        turns: Oldest first; the last is the person's.
        model: An id or alias; empty for the default.
        max_tokens: 0 for the model's limit.
        format: What the answer has to be; None for free text.
    """

    turns: Sequence[Turn]
    model: str = ""
    max_tokens: int = 0
    stop: Sequence[str] = ()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    format: TextFormat | None = None
    search: FileSearch | None = None
    spoken: Spoken | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A passage that the answer could draw on; `number` is how the answer cites it."""

    number: int
    store_id: str
    file_id: str
    filename: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Sound:
    """The next bytes of the spoken answer."""

    data: bytes


@dataclass(slots=True)
class Finished:
    """The end of an answer, and how it came about.

    Attributes:
        reason: `stop` or `length`.
        seconds: How long all of it took.
        degraded: The names of the steps that were left out.
    """

    model: str
    prompt_version: str
    sources: Sequence[Source]
    reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    steps: Sequence[Step] = ()
    degraded: Sequence[str] = field(default_factory=list)


Event = Step | Delta | Sound | Finished
