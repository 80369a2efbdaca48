"""The port of a tokenizer, and how one call tokenises several texts."""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from servekit.chat.model import EngineMessage, GenerationOptions


class Tokenizer(Protocol):
    """The tokenizer of a model."""

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Tokenise each text by itself, all in one call; control tokens are not parsed."""

    def decode(self, tokens: Sequence[Any]) -> str:
        """The text of some tokens."""

    def count(self, messages: Sequence[EngineMessage], options: GenerationOptions) -> int:
        """The number of tokens in a whole prompt, with those of the chat template."""


def split(tokens: Iterable[int], separator: int) -> list[list[int]]:
    """The tokens of several texts that were tokenised as one, each with a separator token before it."""
    texts: list[list[int]] = []
    for token in tokens:
        if token == separator:
            texts.append([])
        else:
            texts[-1].append(token)
    return texts
