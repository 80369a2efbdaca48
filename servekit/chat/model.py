"""The port of a chat model: what it is asked, and the events of its answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, runtime_checkable

from polyphony.type.v1.chat_pb2 import ChatMessage

from servekit.context import CancellationToken
from servekit.scheduling.engines import Model

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length"]


class EngineMessage(TypedDict):
    """One message of a conversation as engines take it; they apply the model's chat template to it."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How the text is generated.

    Attributes:
        max_tokens: The most tokens to generate; 0 means as many as the window allows.
        stop: Strings at which generation stops; they are not part of the text.
        temperature: The sampling temperature; 0 always takes the likeliest token, None means the model's default.
        top_p: The probability mass that tokens are sampled from; None means the model's default.
        seed: The same seed gives the same text; None means another text each time.
        schema: The JSON Schema that the text must validate against; None means free text.
    """

    max_tokens: int = 0
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that fits the model's window: the input of an engine.

    Attributes:
        messages: The conversation, oldest message first, each part cut to its token limit.
        options: How the text is generated, with `max_tokens` set to at most what the window leaves.
        tokens: The length of the prompt in tokens, with those of the chat template.
        truncated_parts: The indices of the parts that were cut, counted over all parts of all messages, from 0.
    """

    messages: Sequence[EngineMessage]
    options: GenerationOptions
    tokens: int
    truncated_parts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PrefillProgress:
    """`processed` of the `total` tokens of the prompt have been processed."""

    processed: int
    total: int


@dataclass(frozen=True, slots=True)
class GenerationDelta:
    """The next piece of the text."""

    text: str


@dataclass(frozen=True, slots=True)
class GenerationFinished:
    """Why the generation ended, and the number of tokens in the prompt and in the text."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int


GenerationEvent = PrefillProgress | GenerationDelta | GenerationFinished


@runtime_checkable
class ChatModel(Model, Protocol):
    """Generates the assistant's next message of a conversation. Its methods may be called from several threads."""

    def prepare(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> Prompt:
        """Cut the parts to their token limits, count the tokens, and refuse what does not fit the window.

        Args:
            messages: The conversation, already checked by `check_messages`.
            options: How the text is generated.

        Raises:
            TooLarge: The prompt leaves no room for an answer in the model's window.
            InvalidArgument: The engine does not support the schema.
            EngineCrashed: The engine does not answer.
        """

    def generate(self, prompt: Prompt, cancellation: CancellationToken) -> Iterator[GenerationEvent]:
        """Generate: progress while a long prompt is processed, then deltas, then one `GenerationFinished`.

        Raises:
            Cancelled, DeadlineExceeded: The cancellation token was set; it is checked after each step of the engine.
            EngineCrashed: The engine crashed.
        """
