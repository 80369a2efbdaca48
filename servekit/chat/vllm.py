"""Chat models on a vLLM server."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from polyphony.type.v1.chat_pb2 import ChatMessage

from servekit.chat.budget import build_prompt
from servekit.chat.model import (
    EngineMessage,
    FinishReason,
    GenerationDelta,
    GenerationEvent,
    GenerationFinished,
    GenerationOptions,
    Prompt,
)
from servekit.chat.tokenizer import split
from servekit.chat.vllm_server import VllmServer
from servekit.context import CancellationToken
from servekit.errors import EngineCrashed, FailedPrecondition, Internal

EVENT = "data: "
END = "[DONE]"


class VllmChatModel:
    """A `ChatModel` on a vLLM server. Closing a stream makes the server stop generating.

    Args:
        url: The URL of the server.
        model: The name under which the server serves the model.
        max_prompt_bytes: The most bytes of UTF-8 in a prompt.
        window_tokens: The most tokens that a prompt and its answer may have together.
        separator: A special token of the model, such as `<|endoftext|>`. vLLM tokenises one text a request: several
            are sent as one, with this token before each.
    """

    def __init__(self, url: str, model: str, *, max_prompt_bytes: int, window_tokens: int, separator: str) -> None:
        # Of a prepared prompt, the server can refuse only the schema.
        self._server = VllmServer(url, "vLLM", refusal="the schema is not supported", field="format.json_schema")
        self._model = model
        self._max_prompt_bytes = max_prompt_bytes
        self._window_tokens = window_tokens
        self._separator = separator

    def warm(self) -> None:
        self._server.warm()
        if len(tokens := self._tokenize(self._separator)) != 1:
            raise FailedPrecondition(f"the separator must be one token, got {len(tokens)} for {self._separator!r}")

    def close(self) -> None:
        self._server.close()

    def prepare(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> Prompt:
        return build_prompt(
            messages, options, self, max_bytes=self._max_prompt_bytes, window_tokens=self._window_tokens
        )

    def generate(self, prompt: Prompt, cancellation: CancellationToken) -> Iterator[GenerationEvent]:
        reason: FinishReason = "stop"
        with self._server.stream("/v1/chat/completions", self._request(prompt)) as response:
            for line in response.iter_lines():
                cancellation.raise_if_cancelled()
                if not line.startswith(EVENT) or line == EVENT + END:
                    continue
                chunk = json.loads(line.removeprefix(EVENT))
                if "error" in chunk:
                    raise Internal(f"vLLM failed: {chunk['error']}")
                for choice in chunk["choices"]:
                    if choice.get("finish_reason") == "length":
                        reason = "length"
                    if text := choice["delta"].get("content"):
                        yield GenerationDelta(text)
                if usage := chunk.get("usage"):
                    yield GenerationFinished(reason, usage["prompt_tokens"], usage["completion_tokens"])
                    return
        raise EngineCrashed("vLLM closed the stream before the text was complete", retry_after=1.0)

    def encode(self, texts: Sequence[str]) -> Sequence[Sequence[int]]:
        """Tokenise each text by itself, all in one call; the texts must not contain control tokens."""
        tokens = self._tokenize("".join(self._separator + text for text in texts))
        return split(tokens, tokens[0])

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens."""
        return str(self._server.ask("/detokenize", {"model": self._model, "tokens": list(tokens)})["prompt"])

    def count(self, messages: Sequence[EngineMessage], options: GenerationOptions) -> int:  # noqa: ARG002
        """The number of tokens in a whole prompt, with those of the chat template."""
        return int(self._server.ask("/tokenize", self._conversation(messages))["count"])

    def _tokenize(self, text: str) -> Sequence[int]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        tokens: Sequence[int] = self._server.ask("/tokenize", body)["tokens"]
        return tokens

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        options = prompt.options
        request = self._conversation(prompt.messages) | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": options.max_tokens,
            "stop": list(options.stop),
        }
        sampling = {"temperature": options.temperature, "top_p": options.top_p, "seed": options.seed}
        request |= {name: value for name, value in sampling.items() if value is not None}
        if options.schema is not None:
            schema = {"name": "answer", "schema": options.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _conversation(self, messages: Sequence[EngineMessage]) -> dict[str, Any]:
        return {"model": self._model, "messages": messages}
