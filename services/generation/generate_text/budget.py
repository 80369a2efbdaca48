"""What of a prompt fits: parts cut at token borders, bounds on bytes and tokens."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from servekit.rpc.errors import TooLarge
from services.generation.generate_text import Part, Prepared, Prompt

Encode = Callable[[str], Sequence[Any]]
Decode = Callable[[Sequence[Any]], str]

CHARACTERS_A_TOKEN = 16  # a first guess at how much text is sure to hold a given number of tokens


def head(text: str, max_tokens: int, encode: Encode, decode: Decode) -> str:
    """The longest beginning of a text that takes at most `max_tokens` tokens.

    No more of the text is encoded than is needed to see where the cut falls. A token that ends
    inside a character loses that character.
    """
    size = max_tokens * CHARACTERS_A_TOKEN
    while len(tokens := encode(text[:size])) <= max_tokens:
        if size >= len(text):
            return text
        size *= 4
    kept = decode(tokens[:max_tokens])
    while not text.startswith(kept):
        kept = kept[:-1]
    return kept


def cut(prompt: Prompt, encode: Encode, decode: Decode) -> tuple[Prompt, tuple[int, ...]]:
    """Cut every part to its limit; also says which were cut, counted over all turns from 0."""
    truncated: list[int] = []
    turns = []
    count = 0
    for turn in prompt.turns:
        parts = []
        for part in turn.parts:
            kept = head(part.text, part.max_tokens, encode, decode) if part.max_tokens else part.text
            if len(kept) < len(part.text):
                truncated.append(count)
            parts.append(Part(kept))
            count += 1
        turns.append(replace(turn, parts=tuple(parts)))
    return replace(prompt, turns=tuple(turns)), tuple(truncated)


def prepare(
    prompt: Prompt, encode: Encode, decode: Decode, count: Callable[[Prompt], int], max_bytes: int, window: int
) -> Prepared:
    """Cut a prompt and see to it that it fits.

    Args:
        prompt: The prompt.
        encode: From text to tokens.
        decode: From tokens to text.
        count: The tokens of a whole prompt, the chat template's own included.
        max_bytes: Of UTF-8, after the parts are cut; checked before the prompt is counted.
        window: How many tokens the prompt and the answer may take together.

    Raises:
        TooLarge: The prompt is longer than either bound.
    """
    if len(prompt.turns) > window:  # a turn takes a token at least
        raise TooLarge(f"{len(prompt.turns)} messages, {window} tokens fit", field="messages")
    prompt, truncated = cut(prompt, encode, decode)
    size = sum(len(turn.text.encode()) for turn in prompt.turns)
    if size > max_bytes:
        raise TooLarge(f"the prompt is {size} bytes long, at most {max_bytes} are accepted", field="messages")
    tokens = count(prompt)
    if tokens >= window:
        raise TooLarge(
            f"the prompt takes {tokens} tokens; with an answer of one at least, {window} fit", field="messages"
        )
    room = window - tokens
    return Prepared(replace(prompt, max_tokens=min(prompt.max_tokens or room, room)), tokens, truncated)
