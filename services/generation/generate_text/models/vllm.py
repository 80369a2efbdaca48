"""Text models on a vLLM server, reached over its OpenAI-compatible HTTP interface."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from servekit.chat.vllm import VllmServer
from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, FailedPrecondition, Internal
from services.generation.generate_text import Delta, Event, Finished, Prepared, Prompt, Reason, budget
from services.generation.settings import GenerationSettings

EVENT = "data: "
END = "[DONE]"


class VllmGenerator:
    """A `TextGenerator` whose engine is a vLLM server. Closing a stream makes the server stop writing it.

    Args:
        url: Where the server is.
        model: The name under which the server serves it.
        max_prompt_bytes: The longest prompt.
        window: Tokens that a prompt and its answer may take together.
    """

    def __init__(self, url: str, model: str, *, max_prompt_bytes: int, window: int) -> None:
        # Of a prepared prompt it can refuse only the schema.
        self._server = VllmServer(url, "vLLM", refusal="the schema cannot be followed", field="format.json_schema")
        self._model = model
        self._max_prompt_bytes = max_prompt_bytes
        self._window = window

    def warm(self) -> None:
        self._server.warm()

    def close(self) -> None:
        self._server.close()

    def prepare(self, prompt: Prompt) -> Prepared:
        return budget.prepare(prompt, self._encode, self._decode, self._count, self._max_prompt_bytes, self._window)

    def generate(self, prepared: Prepared, cancellation: CancellationToken) -> Iterator[Event]:
        reason: Reason = "stop"
        with self._server.stream("/v1/chat/completions", self._request(prepared)) as response:
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
                        yield Delta(text)
                if usage := chunk.get("usage"):
                    yield Finished(reason, usage["prompt_tokens"], usage["completion_tokens"])
                    return
        raise EngineCrashed("vLLM broke off in the middle of a text", retry_after=1.0)

    def _request(self, prepared: Prepared) -> dict[str, Any]:
        prompt = prepared.prompt
        request = self._conversation(prompt) | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": prompt.max_tokens,
            "stop": list(prompt.stop),
        }
        chosen = {"temperature": prompt.temperature, "top_p": prompt.top_p, "seed": prompt.seed}
        request |= {name: value for name, value in chosen.items() if value is not None}
        if prompt.schema is not None:
            schema = {"name": "answer", "schema": prompt.schema}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def _conversation(self, prompt: Prompt) -> dict[str, Any]:
        messages = [{"role": turn.role, "content": turn.text} for turn in prompt.turns]
        return {"model": self._model, "messages": messages}

    def _encode(self, text: str) -> Sequence[int]:
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        tokens: Sequence[int] = self._server.ask("/tokenize", body)["tokens"]
        return tokens

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._server.ask("/detokenize", {"model": self._model, "tokens": list(tokens)})["prompt"])

    def _count(self, prompt: Prompt) -> int:
        return int(self._server.ask("/tokenize", self._conversation(prompt))["count"])


def load(spec: ModelSpec, settings: GenerationSettings) -> VllmGenerator:
    """Reach the server of `settings.vllm`; the spec's `options.served_as` is the model's name there.

    Raises:
        FailedPrecondition: No server is set.
    """
    if not settings.vllm:
        raise FailedPrecondition(f"{spec.id} runs on vLLM: say where it is", field="vllm")
    return VllmGenerator(
        settings.vllm,
        str(spec.options.get("served_as", spec.id)),
        max_prompt_bytes=settings.max_prompt_bytes,
        window=int(spec.limits["window_tokens"]),
    )
