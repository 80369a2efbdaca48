"""A generator without a network: it says again what it was told."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import by_reason
from services.generation import budget
from services.generation.models import Delta, Event, Finished, Prepared, Progress, Prompt, Reason
from services.generation.settings import GenerationSettings

WORD = re.compile(r"\s*\S+|\s+")
WINDOW = 4096
PREFILL = 512  # words between two reports of progress


class FakeGenerator:
    """A `TextGenerator` that echoes the last user turn, a word a token.

    Args:
        max_prompt_bytes: The longest prompt.
        latency_seconds: How long a token takes to write.
        fail: The name of the error that every run raises; empty for none.
    """

    def __init__(self, max_prompt_bytes: int, latency_seconds: float = 0.0, fail: str = "") -> None:
        self._max_prompt_bytes = max_prompt_bytes
        self._latency = latency_seconds
        self._fail = fail

    def warm(self) -> None:
        """Nothing is cold."""

    def close(self) -> None:
        """Nothing is held."""

    def prepare(self, prompt: Prompt) -> Prepared:
        return budget.prepare(prompt, WORD.findall, "".join, _count, self._max_prompt_bytes, WINDOW)

    def generate(self, prepared: Prepared, flag: Flag) -> Iterator[Event]:
        if self._fail:
            raise by_reason(self._fail)("the fake was told to fail")
        for processed in range(PREFILL, prepared.tokens, PREFILL):
            flag.check()
            yield Progress(processed, prepared.tokens)
        prompt = prepared.prompt
        words = WORD.findall(_answer(prompt))
        for word in words[: prompt.max_tokens]:
            until = time.monotonic() + self._latency
            flag.check()
            while time.monotonic() < until:
                time.sleep(min(0.01, self._latency))
                flag.check()
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


def load(card: ModelCard, settings: GenerationSettings) -> FakeGenerator:
    """Make the fake, as slow and as broken as its card says."""
    return FakeGenerator(settings.max_prompt_bytes, float(card.options["latency_seconds"]), str(card.options["fail"]))
