"""Text models on a vLLM server, reached over its OpenAI-compatible HTTP interface."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from servekit.call import Flag
from servekit.catalogue import ModelCard
from servekit.errors import EngineGone, FailedPrecondition, Internal, InvalidArgument, Overloaded
from services.generation import budget
from services.generation.models import Delta, Event, Finished, Prepared, Prompt, Reason
from services.generation.settings import GenerationSettings

STEP_SECONDS = 60.0  # the longest silence of a server that lives: reading the longest prompt behind a full batch
CONNECT_SECONDS = 2.0
EVENT = "data: "
END = "[DONE]"


class VllmGenerator:
    """A `TextGenerator` whose engine is a vLLM server. Closing a stream makes the server stop writing it.

    Args:
        client: To the server, its base URL set.
        model: The name under which the server serves it.
        max_prompt_bytes: The longest prompt.
        window: Tokens that a prompt and its answer may take together.
    """

    def __init__(self, client: httpx.Client, model: str, *, max_prompt_bytes: int, window: int) -> None:
        self._client = client
        self._model = model
        self._max_prompt_bytes = max_prompt_bytes
        self._window = window

    def warm(self) -> None:
        with _reaching():
            _check(self._client.get("/health"))

    def close(self) -> None:
        self._client.close()

    def prepare(self, prompt: Prompt) -> Prepared:
        return budget.prepare(prompt, self._encode, self._decode, self._count, self._max_prompt_bytes, self._window)

    def generate(self, prepared: Prepared, flag: Flag) -> Iterator[Event]:
        reason: Reason = "stop"
        with _reaching(), self._client.stream("POST", "/v1/chat/completions", json=self._request(prepared)) as response:
            if response.is_error:
                response.read()
            _check(response)
            for line in response.iter_lines():
                flag.check()
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
        raise EngineGone("vLLM broke off in the middle of a text", retry_after=1.0)

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
        tokens: Sequence[int] = self._ask("/tokenize", body)["tokens"]
        return tokens

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._ask("/detokenize", {"model": self._model, "tokens": list(tokens)})["prompt"])

    def _count(self, prompt: Prompt) -> int:
        return int(self._ask("/tokenize", self._conversation(prompt))["count"])

    def _ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        with _reaching():
            response = self._client.post(path, json=body)
            _check(response)
        answer: Mapping[str, Any] = response.json()
        return answer


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        raise EngineGone("vLLM does not answer", retry_after=1.0) from error


def _check(response: httpx.Response) -> None:
    """What a refusal of the server's is to the caller; of a prepared prompt it can refuse only the schema."""
    if not response.is_error:
        return
    match response.status_code:
        case 400 | 422:
            raise InvalidArgument(f"the schema cannot be followed: {response.text[:500]}", field="format.json_schema")
        case 429:
            raise Overloaded("vLLM is full", retry_after=1.0)
        case 502 | 503 | 504:
            raise EngineGone("vLLM is not ready", retry_after=1.0)
    raise Internal(f"vLLM answered {response.status_code}: {response.text[:500]}")


def load(card: ModelCard, settings: GenerationSettings) -> VllmGenerator:
    """Reach the server of `settings.vllm`; the card's `options.served_as` is the model's name there.

    Raises:
        FailedPrecondition: No server is set.
    """
    if not settings.vllm:
        raise FailedPrecondition(f"{card.id} runs on vLLM: say where it is", field="vllm")
    client = httpx.Client(base_url=settings.vllm, timeout=httpx.Timeout(STEP_SECONDS, connect=CONNECT_SECONDS))
    return VllmGenerator(
        client,
        str(card.options.get("served_as", card.id)),
        max_prompt_bytes=settings.max_prompt_bytes,
        window=int(card.limits["window_tokens"]),
    )
