"""The tokenizer of a llama.cpp engine, reached over the HTTP server that the engine runs on a Unix socket."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from servekit.chat.model import EngineMessage, GenerationOptions
from servekit.chat.tokenizer import split
from servekit.errors import EngineCrashed, Internal, InvalidArgument, ServeError, Unavailable

TIMEOUT_SECONDS = 30.0
SEPARATOR = -1  # llama.cpp keeps token ids that stand between texts; no token has this one


class LlamaCppTokenizer:
    """A `Tokenizer`.

    Every method raises `EngineCrashed` if the engine does not answer, `Unavailable` while the model is loaded,
    `InvalidArgument` if it does not support the schema, and `Internal` if it fails.

    Args:
        socket: The path of the engine's Unix socket.
        key: The key that the engine requires.
    """

    def __init__(self, socket: str, key: str) -> None:
        self._client = httpx.Client(
            base_url="http://llama",
            transport=httpx.HTTPTransport(uds=socket, limits=httpx.Limits(max_keepalive_connections=0)),
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
        )

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Tokenise each text by itself, all in one call; control tokens are not parsed."""
        content = [item for text in texts for item in (SEPARATOR, text)]
        return split(self._ask("/tokenize", {"content": content, "parse_special": False})["tokens"], SEPARATOR)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens."""
        return str(self._ask("/detokenize", {"tokens": tokens})["content"])

    def count(self, messages: Sequence[EngineMessage], options: GenerationOptions) -> int:
        """The number of tokens in a whole prompt, with those of the chat template."""
        return int(self._ask("/chat/completions/input_tokens", conversation(messages, options))["input_tokens"])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            response = self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise EngineCrashed("llama.cpp does not answer", retry_after=1.0) from error
        answer: Mapping[str, Any] = response.json()
        if response.is_error:
            raise engine_error(answer["error"])
        return answer


def conversation(messages: Sequence[EngineMessage], options: GenerationOptions) -> dict[str, Any]:
    """The part of a request to llama.cpp that decides the tokens of the prompt."""
    body: dict[str, Any] = {"messages": messages}
    if options.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": options.schema}}
    return body


def engine_error(error: Mapping[str, Any]) -> ServeError:
    """The error to raise for one of llama.cpp; of a prepared prompt it can refuse only the schema."""
    if error.get("code") == 400:
        return schema_error(str(error["message"]))
    if error.get("code") == 503:
        return Unavailable("the model is still being loaded", retry_after=1.0)
    return Internal(f"llama.cpp failed: {error.get('message')}")


def schema_error(message: str) -> InvalidArgument:
    """The error for a schema that llama.cpp does not support; its message names the place in the schema."""
    *_, cause = message.partition("JSON schema error at ")
    return InvalidArgument(f"the schema is not supported: {cause or 'it is too large'}", field="format.json_schema")
