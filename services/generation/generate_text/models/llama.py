"""Text models in GGUF, run by llama.cpp inside this process."""

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx

# Before OpenMP is loaded: a thread that waits at a barrier spins briefly, then sleeps. Spinning on, as it would by
# itself, takes the core that the thread it waits for needs, and beside one busy process halves the speed.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import xllamacpp

from servekit.models.catalogue import ModelSpec
from servekit.rpc.context import CancellationToken
from servekit.rpc.errors import EngineCrashed, FailedPrecondition, Internal, InvalidArgument, Unavailable
from services.generation.generate_text import (
    Delta,
    Event,
    Finished,
    Part,
    Prepared,
    Progress,
    Prompt,
    Reason,
    Turn,
    budget,
)
from services.generation.settings import GenerationSettings

RANDOM_SEED = 2**32 - 1  # to llama.cpp this seed means a new one each time
SIDE_CALL_SECONDS = 30.0
HELLO = Prompt((Turn("user", (Part("Hello"),)),), max_tokens=1, temperature=0.0)

Chunks = SimpleQueue[Mapping[str, Any] | Exception | None]


class LlamaGenerator:
    """A `TextGenerator` on one llama.cpp engine with several slots.

    The engine insists on an HTTP server of its own. Here it listens on a Unix socket in a folder that
    only this user can enter, behind a key made up at start: no port is open. The socket serves the
    tokenizer; text is written through direct calls, whose callback can stop the engine at every step.

    For a seed to give the same text twice, its prompt is read anew rather than from the cache, and the
    engine's repacked kernels, which sum in another order for one row than for several, are left out (they
    gain nothing here). What neighbours in the same step still change is rounding: it seldom shows in a text.

    Args:
        weights: The GGUF file.
        settings: Slots, threads and bounds.
        window: Tokens that a prompt and its answer may take together.
        temperature: Used where the prompt says none.
        top_p: Used where the prompt says none.

    Raises:
        FailedPrecondition: The file cannot be loaded.
    """

    def __init__(
        self, weights: Path, settings: GenerationSettings, *, window: int, temperature: float, top_p: float
    ) -> None:
        self._window = window
        self._max_prompt_bytes = settings.max_prompt_bytes
        self._temperature = temperature
        self._top_p = top_p
        self._folder = tempfile.TemporaryDirectory(prefix="polyphony-")
        socket = str(Path(self._folder.name) / "llama.sock")
        key = secrets.token_urlsafe()
        try:
            self._server = xllamacpp.Server(_params(weights, settings, window, socket, key))
        except RuntimeError as error:
            self._folder.cleanup()
            raise FailedPrecondition(f"llama.cpp cannot load {weights}") from error
        self._calls = ThreadPoolExecutor(settings.slots, thread_name_prefix="llama")
        self._side = httpx.Client(
            base_url="http://llama",
            transport=httpx.HTTPTransport(uds=socket, limits=httpx.Limits(max_keepalive_connections=0)),
            headers={"Authorization": f"Bearer {key}"},
            timeout=SIDE_CALL_SECONDS,
        )

    def warm(self) -> None:
        for _ in self.generate(self.prepare(HELLO), CancellationToken()):
            pass

    def close(self) -> None:
        self._calls.shutdown()
        self._side.close()
        del self._server  # its destructor stops the engine
        self._folder.cleanup()

    def prepare(self, prompt: Prompt) -> Prepared:
        return budget.prepare(prompt, self._encode, self._decode, self._count, self._max_prompt_bytes, self._window)

    def generate(self, prepared: Prepared, cancellation: CancellationToken) -> Iterator[Event]:
        chunks: Chunks = SimpleQueue()
        stop = CancellationToken(parent=cancellation)
        running = self._calls.submit(self._run, self._request(prepared.prompt), chunks, stop)
        reason = ""
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                if progress := chunk.get("prompt_progress"):
                    if 0 < progress["processed"] < progress["total"]:
                        yield Progress(progress["processed"], progress["total"])
                    continue
                for choice in chunk["choices"]:
                    reason = choice["finish_reason"] or reason
                    if text := choice["delta"].get("content"):
                        yield Delta(text)
                if usage := chunk.get("usage"):
                    ended: Reason = "length" if reason == "length" else "stop"
                    yield Finished(ended, usage["prompt_tokens"], usage["completion_tokens"])
            cancellation.raise_if_cancelled()
        finally:
            stop.cancel()
            wait([running])  # the slot is free only when the engine has let go

    def _run(self, request: Mapping[str, Any], chunks: Chunks, stop: CancellationToken) -> None:
        """Drive the engine on this thread until the text ends or `stop` is set; a last None says it is over."""

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            chunks.put(_failure(chunk["error"]) if "error" in chunk else chunk)
            return stop.cancelled

        try:
            self._server.handle_chat_completions(request, on_chunk)
        except ValueError as error:
            chunks.put(_refusal(str(error)))
        except RuntimeError as error:
            chunks.put(EngineCrashed(f"llama.cpp failed: {error}"))
        finally:
            chunks.put(None)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request = _conversation(prompt) | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
            "max_tokens": prompt.max_tokens,
            "stop": list(prompt.stop),
            "temperature": self._temperature if prompt.temperature is None else prompt.temperature,
            "top_p": self._top_p if prompt.top_p is None else prompt.top_p,
        }
        if prompt.seed is not None:
            request |= {"seed": prompt.seed % RANDOM_SEED, "cache_prompt": False}
        return request

    def _encode(self, text: str) -> Sequence[int]:
        tokens: Sequence[int] = self._ask("/tokenize", {"content": text, "parse_special": False})["tokens"]
        return tokens

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._ask("/detokenize", {"tokens": tokens})["content"])

    def _count(self, prompt: Prompt) -> int:
        return int(self._ask("/chat/completions/input_tokens", _conversation(prompt))["input_tokens"])

    def _ask(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            response = self._side.post(path, json=body)
        except httpx.TransportError as error:
            raise EngineCrashed("llama.cpp does not answer", retry_after=1.0) from error
        answer: Mapping[str, Any] = response.json()
        if response.is_error:
            raise _failure(answer["error"])
        return answer


def _conversation(prompt: Prompt) -> dict[str, Any]:
    """The part of a request that decides what the prompt's tokens are."""
    body: dict[str, Any] = {"messages": [{"role": turn.role, "content": turn.text} for turn in prompt.turns]}
    if prompt.schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": prompt.schema}}
    return body


def _failure(error: Mapping[str, Any]) -> Exception:
    """What an error of llama.cpp's is to the caller; of a prepared prompt it can refuse only the schema."""
    if error.get("code") == 400:
        return _refusal(str(error["message"]))
    if error.get("code") == 503:
        return Unavailable("the model is still being loaded", retry_after=1.0)
    return Internal(f"llama.cpp failed: {error.get('message')}")


def _refusal(message: str) -> InvalidArgument:
    *_, why = message.partition("JSON schema error at ")
    return InvalidArgument(f"the schema cannot be followed: {why or 'it is too large'}", field="format.json_schema")


def _params(weights: Path, settings: GenerationSettings, window: int, socket: str, key: str) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_parallel = settings.slots
    params.n_ctx = window * settings.slots  # divided among the slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = settings.prefill_tokens
    params.cpuparams_batch.n_threads = settings.threads
    params.cpuparams.n_threads = settings.decode_threads or max(1, settings.threads // 2)
    params.no_extra_bufts = True  # no repacked kernels
    # Not mapped: a mapped file's pages can be dropped and re-read.
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = 0  # each slot keeps its last prompt; no second cache that grows to gigabytes
    params.cache_idle_slots = False
    params.prefill_assistant = False  # an assistant's last turn is history, not the beginning of this one
    params.hostnames = [socket]
    params.api_keys = [key]
    params.n_threads_http = settings.slots
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.verbosity = -1  # what matters is raised
    return params


def load(spec: ModelSpec, settings: GenerationSettings) -> LlamaGenerator:
    """Load the model of a spec; `options` give its sampling defaults, `limits` its window.

    Raises:
        FailedPrecondition: The file cannot be loaded.
    """
    return LlamaGenerator(
        spec.folder(settings.models_dir) / spec.files[0].path,
        settings,
        window=int(spec.limits["window_tokens"]),
        temperature=float(spec.options["temperature"]),
        top_p=float(spec.options["top_p"]),
    )
