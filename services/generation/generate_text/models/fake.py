"""A chat model without a network: it repeats the last user message."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from polyphony.type.v1.chat_pb2 import ChatMessage

from servekit.chat import budget
from servekit.chat.model import (
    EngineMessage,
    FinishReason,
    GenerationDelta,
    GenerationEvent,
    GenerationFinished,
    GenerationOptions,
    PrefillProgress,
    Prompt,
)
from servekit.context import CancellationToken
from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from services.generation.settings import GenerationSettings

WORD = re.compile(r"\s*\S+|\s+")
WINDOW_TOKENS = 4096
PREFILL_TOKENS = 512  # the tokens between two reports of progress


class FakeChatModel:
    """A `ChatModel` whose tokens are words and that repeats the last user message.

    Args:
        spec: Its options are the faults to inject; each generated token is a step.
        max_prompt_bytes: The most bytes of UTF-8 in a prompt.
    """

    def __init__(self, spec: ModelSpec, max_prompt_bytes: int) -> None:
        self.faults = Faults(spec)
        self._max_prompt_bytes = max_prompt_bytes

    def warm(self) -> None:
        """Do nothing: there is nothing to warm."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def prepare(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> Prompt:
        return budget.build_prompt(
            messages, options, self, max_bytes=self._max_prompt_bytes, window_tokens=WINDOW_TOKENS
        )

    def generate(self, prompt: Prompt, cancellation: CancellationToken) -> Iterator[GenerationEvent]:
        for processed in range(PREFILL_TOKENS, prompt.tokens, PREFILL_TOKENS):
            cancellation.raise_if_cancelled()
            yield PrefillProgress(processed, prompt.tokens)
        words = WORD.findall(_answer(prompt))
        max_tokens = prompt.options.max_tokens
        for word in words[:max_tokens]:
            self.faults.step(cancellation)
            yield GenerationDelta(word)
        reason: FinishReason = "length" if len(words) > max_tokens else "stop"
        yield GenerationFinished(reason, prompt.tokens, min(len(words), max_tokens))

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[str]]:
        """Split each text into words."""
        return [WORD.findall(text) for text in texts]

    def decode(self, tokens: Sequence[str]) -> str:
        """Join words."""
        return "".join(tokens)

    def count(self, messages: Sequence[EngineMessage], options: GenerationOptions) -> int:  # noqa: ARG002
        """The number of words, and one more for each message."""
        return sum(1 + len(WORD.findall(message["content"])) for message in messages)


def _answer(prompt: Prompt) -> str:
    if prompt.options.schema is not None:
        return json.dumps(_example(prompt.options.schema))
    questions = [message["content"].strip() for message in prompt.messages if message["role"] == "user"]
    text = questions[-1] if questions else ""
    ends = [end for stop in prompt.options.stop if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _example(schema: Mapping[str, Any]) -> Any:
    """A smallest value that validates against a plain schema."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return ""
        case "integer" | "number":
            return 0
        case "boolean":
            return False
        case "array":
            return []
        case "null":
            return None
    return {name: _example(field) for name, field in schema.get("properties", {}).items()}


def load(spec: ModelSpec, settings: GenerationSettings) -> FakeChatModel:
    """Make the fake of a spec."""
    return FakeChatModel(spec, settings.max_prompt_bytes)
