"""The token budget of a prompt: parts cut at token borders, and bounds on its bytes and tokens."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from polyphony.type.v1.chat_pb2 import ChatMessage

from servekit.chat.message import ROLES, escape_control_tokens
from servekit.chat.model import EngineMessage, GenerationOptions, Prompt
from servekit.chat.tokenizer import Tokenizer
from servekit.errors import TooLarge, Unimplemented

CHARACTERS_PER_TOKEN = 16  # the beginning of a text that is tokenised first: most tokens are far shorter


def truncate(texts: Sequence[str], limits: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Cut each text to its longest beginning of at most `limits[i]` tokens; a limit of 0 leaves it whole.

    One call tokenises the beginnings of all texts, and another one those that turned out too short. A token that ends
    inside a character loses that character.
    """
    kept = list(texts)
    sizes = {index: limit * CHARACTERS_PER_TOKEN for index, limit in enumerate(limits) if limit}
    while sizes:
        encoded = tokenizer.encode([texts[index][:size] for index, size in sizes.items()])
        too_short = {}
        for (index, size), tokens in zip(sizes.items(), encoded, strict=True):
            if len(tokens) > limits[index]:
                kept[index] = _common_prefix(texts[index], tokenizer.decode(tokens[: limits[index]]))
            elif size < len(texts[index]):
                too_short[index] = size * 4
        sizes = too_short
    return kept


def build_prompt(
    messages: Sequence[ChatMessage],
    options: GenerationOptions,
    tokenizer: Tokenizer,
    *,
    max_bytes: int,
    window_tokens: int,
) -> Prompt:
    """Turn a conversation of text parts into the input of an engine, and check that it fits.

    Args:
        messages: The conversation.
        options: How the text is generated.
        tokenizer: The model's tokenizer.
        max_bytes: The most bytes of UTF-8 after the parts are cut, checked before the prompt's tokens are counted.
        window_tokens: The most tokens that the prompt and the answer may have together.

    Raises:
        TooLarge: The prompt exceeds either bound.
        Unimplemented: A part is a medium; the engines here take text only.
    """
    if len(messages) > window_tokens:  # each message takes at least one token
        raise TooLarge(f"at most {window_tokens} messages fit the window, got {len(messages)}", field="messages")
    parts = [part for message in messages for part in message.parts]
    if not all(part.HasField("text") for part in parts):
        raise Unimplemented("the engine takes text parts only", field="messages")
    texts = [escape_control_tokens(part.text) for part in parts]
    kept = truncate(texts, [part.max_tokens for part in parts], tokenizer)
    truncated = tuple(index for index, text in enumerate(texts) if len(kept[index]) < len(text))
    rest = iter(kept)
    prompt = [
        EngineMessage(role=ROLES[message.role], content="".join(islice(rest, len(message.parts))))
        for message in messages
    ]
    size = sum(len(message["content"].encode()) for message in prompt)
    if size > max_bytes:
        raise TooLarge(f"the prompt must have at most {max_bytes} bytes, got {size}", field="messages")
    tokens = tokenizer.count(prompt, options)
    room = window_tokens - tokens
    if room < 1:
        raise TooLarge(f"the prompt must have fewer than {window_tokens} tokens, got {tokens}", field="messages")
    return Prompt(prompt, replace(options, max_tokens=min(options.max_tokens or room, room)), tokens, truncated)


def _common_prefix(text: str, decoded: str) -> str:
    """The longest beginning of `decoded` that `text` begins with."""
    pairs = enumerate(zip(decoded, text, strict=False))
    return decoded[: next((at for at, (one, other) in pairs if one != other), min(len(decoded), len(text)))]
