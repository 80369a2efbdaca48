"""The events of a composed answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.schemas.report import Source, Step


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerAudio:
    """The next bytes of the spoken answer."""

    data: bytes


@dataclass(slots=True)
class AnswerFinished:
    """The end of an answer, and how it was composed.

    Attributes:
        model: The id of the model that answered.
        prompt_version: The version of the prompt template.
        sources: The passages that were given to the model.
        reason: Why the text ended: `stop` or `length`.
        prompt_tokens: The number of tokens in the prompt.
        completion_tokens: The number of tokens in the answer.
        seconds: The time from the start of the request to the end of the answer.
        steps: Every step, ordered by its start.
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


AnswerEvent = Step | AnswerDelta | AnswerAudio | AnswerFinished
