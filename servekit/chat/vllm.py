"""Models on a vLLM server, reached over its OpenAI-compatible HTTP interface: any server, and a chat model on one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from polyphony.type.v1.chat_pb2 import ChatMessage

from servekit.chat import budget
from servekit.chat.model import (
    EngineMessage,
    FinishReason,
    GenerationDelta,
    GenerationEvent,
    GenerationFinished,
    GenerationOptions,
    Prompt,
)
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, Internal, InvalidArgument, Overloaded

EVENT = "data: "
END = "[DONE]"
# The longest pause in the answer of a live server: it processes a prompt, or clones a voice, behind a batch.
READ_TIMEOUT_SECONDS = 60.0
CONNECT_TIMEOUT_SECONDS = 2.0


class VllmServer:
    """A vLLM server, of any kind of model.

    Every method raises `EngineCrashed` if the server does not answer, `Overloaded` if it is full, `InvalidArgument` if
    it refuses the request, and `Internal` if it fails.

    Args:
        url: The URL of the server.
        name: The name of the server in error messages.
        refusal: The message of the error for a refused request.
        field: The caller's request field that is at fault for a refused request.
    """

    def __init__(self, url: str, name: str, *, refusal: str, field: str) -> None:
        self._client = httpx.Client(
            base_url=url, timeout=httpx.Timeout(READ_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS)
        )
        self._name = name
        self._refusal, self._field = refusal, field

    def warm(self) -> None:
        """Check that the server is healthy."""
        with self._connection_errors():
            self._check(self._client.get("/health"))

    def ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a JSON request; returns the JSON answer."""
        with self._connection_errors():
            response = self._client.post(path, json=body)
            self._check(response)
        answer: Mapping[str, Any] = response.json()
        return answer

    @contextmanager
    def stream(self, path: str, body: Mapping[str, Any]) -> Iterator[httpx.Response]:
        """Send a JSON request and stream the answer; leaving the context makes the server stop."""
        with self._connection_errors(), self._client.stream("POST", path, json=body) as response:
            if response.is_error:
                response.read()
            self._check(response)
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _connection_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            raise EngineCrashed(f"{self._name} does not answer", retry_after=1.0) from error

    def _check(self, response: httpx.Response) -> None:
        if not response.is_error:
            return
        match response.status_code:
            case 400 | 422:
                raise InvalidArgument(f"{self._refusal}: {response.text[:500]}", field=self._field)
            case 429:
                raise Overloaded(f"{self._name} is full", retry_after=1.0)
            case 502 | 503 | 504:
                raise EngineCrashed(f"{self._name} is not ready", retry_after=1.0)
        raise Internal(f"{self._name} answered {response.status_code}: {response.text[:500]}")


class VllmChatModel:
    """A `ChatModel` on a vLLM server. Closing a stream makes the server stop generating.

    Args:
        url: The URL of the server.
        model: The name under which the server serves the model.
        max_prompt_bytes: The most bytes of UTF-8 in a prompt.
        window_tokens: The most tokens that a prompt and its answer may have together.
    """

    def __init__(self, url: str, model: str, *, max_prompt_bytes: int, window_tokens: int) -> None:
        # Of a prepared prompt, the server can refuse only the schema.
        self._server = VllmServer(url, "vLLM", refusal="the schema is not supported", field="format.json_schema")
        self._model = model
        self._max_prompt_bytes = max_prompt_bytes
        self._window_tokens = window_tokens

    def warm(self) -> None:
        self._server.warm()

    def close(self) -> None:
        self._server.close()

    def prepare(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> Prompt:
        return budget.build_prompt(
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
        """Tokenise each text by itself; vLLM takes one text a request."""
        return [self._encode(text) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of some tokens."""
        return str(self._server.ask("/detokenize", {"model": self._model, "tokens": list(tokens)})["prompt"])

    def count(self, messages: Sequence[EngineMessage], options: GenerationOptions) -> int:  # noqa: ARG002
        """The number of tokens in a whole prompt, with those of the chat template."""
        return int(self._server.ask("/tokenize", self._conversation(messages))["count"])

    def _encode(self, text: str) -> Sequence[int]:
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
