"""The port of the generation models, and where each loader is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from servekit.rpc.context import CancellationToken
from servekit.scheduling.engines import Model

RUNTIMES = {
    "llamacpp": "services.generation.generate_text.models.llama:load",
    "vllm": "services.generation.generate_text.models.vllm:load",
    "fake": "services.generation.generate_text.models.fake:load",
}

Role = Literal["system", "user", "assistant"]
Reason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of text, of which at most `max_tokens` tokens are to be read; 0 means all."""

    text: str
    max_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says: the parts, joined as they stand."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(part.text for part in self.parts)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that wants its next turn.

    Attributes:
        turns: Oldest first.
        max_tokens: How many tokens may be written; 0 for as many as fit.
        stop: Strings that end the text and are not part of it.
        temperature: 0 takes the likeliest token; None for the model's default.
        top_p: The probability mass that is sampled from; None for the model's default.
        seed: The same one gives the same text; None for another text each time.
        schema: The JSON Schema that the text has to validate against; None for free text.
    """

    turns: tuple[Turn, ...]
    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prompt that a model has accepted.

    Attributes:
        prompt: With its parts cut and `max_tokens` set to what fits.
        tokens: Its length, the chat template's own tokens included.
        truncated: The parts that were cut, counted over all turns from 0.
    """

    prompt: Prompt
    tokens: int
    truncated: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """`processed` of `total` tokens of the prompt have been read."""

    processed: int
    total: int


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Why the text ended, and the tokens that were read and written."""

    reason: Reason
    prompt_tokens: int
    completion_tokens: int


Event = Progress | Delta | Finished


class TextGenerator(Model, Protocol):
    """Writes the next turn of a conversation. Every method may be called from several threads at once."""

    def prepare(self, prompt: Prompt) -> Prepared:
        """Cut the parts to their limits, count, and refuse what can never be written.

        Raises:
            TooLarge: The prompt leaves no room in the model's window.
            InvalidArgument: The schema cannot be followed.
            EngineCrashed: The engine does not answer.
        """

    def generate(self, prepared: Prepared, cancellation: CancellationToken) -> Iterator[Event]:
        """Write: progress while a long prompt is read, deltas, one `Finished`.

        Raises:
            Cancelled, DeadlineExceeded: The cancellation token was set; it is looked at after every step of the engine.
            EngineCrashed: The engine died.
        """
