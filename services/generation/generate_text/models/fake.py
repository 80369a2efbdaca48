"""A generator without a network: it says again what it was told."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from servekit.models.catalogue import ModelSpec
from servekit.models.faults import Faults
from servekit.rpc.context import CancellationToken
from services.generation.generate_text import Delta, Event, Finished, Prepared, Progress, Prompt, Reason, budget
from services.generation.settings import GenerationSettings

WORD = re.compile(r"\s*\S+|\s+")
WINDOW = 4096
PREFILL = 512  # words between two reports of progress


class FakeGenerator:
    """A `TextGenerator` that echoes the last user turn, a word a token.

    Args:
        spec: Whose options are its faults; a token that is written is a step.
        max_prompt_bytes: The longest prompt.
    """

    def __init__(self, spec: ModelSpec, max_prompt_bytes: int) -> None:
        self.faults = Faults(spec)
        self._max_prompt_bytes = max_prompt_bytes

    def warm(self) -> None:
        """Always warm."""

    def close(self) -> None:
        """Nothing is held."""

    def prepare(self, prompt: Prompt) -> Prepared:
        return budget.prepare(prompt, WORD.findall, "".join, _count, self._max_prompt_bytes, WINDOW)

    def generate(self, prepared: Prepared, cancellation: CancellationToken) -> Iterator[Event]:
        for processed in range(PREFILL, prepared.tokens, PREFILL):
            cancellation.raise_if_cancelled()
            yield Progress(processed, prepared.tokens)
        prompt = prepared.prompt
        words = WORD.findall(_answer(prompt))
        for word in words[: prompt.max_tokens]:
            self.faults.step(cancellation)
            yield Delta(word)
        reason: Reason = "length" if len(words) > prompt.max_tokens else "stop"
        yield Finished(reason, prepared.tokens, min(len(words), prompt.max_tokens))


def _count(prompt: Prompt) -> int:
    return sum(1 + len(WORD.findall(turn.text)) for turn in prompt.turns)


def _answer(prompt: Prompt) -> str:
    if prompt.schema is not None:
        return json.dumps(_example(prompt.schema))
    said = [turn.text.strip() for turn in prompt.turns if turn.role == "user"]
    text = said[-1] if said else ""
    ends = [end for stop in prompt.stop if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _example(schema: Mapping[str, Any]) -> Any:
    """The least value that a plain schema allows."""
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


def load(spec: ModelSpec, settings: GenerationSettings) -> FakeGenerator:
    """The fake of a spec."""
    return FakeGenerator(spec, settings.max_prompt_bytes)
