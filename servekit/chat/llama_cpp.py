"""Chat models in GGUF, run by llama.cpp inside this process."""

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart

# Set before OpenMP is loaded: a thread that waits at a barrier spins briefly, then sleeps. By default it spins on and
# takes the core that the thread it waits for needs, which halves the speed next to one busy process.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import xllamacpp

from servekit.chat.budget import build_prompt
from servekit.chat.llama_cpp_tokenizer import LlamaCppTokenizer, conversation, engine_error, schema_error
from servekit.chat.model import (
    FinishReason,
    GenerationDelta,
    GenerationEvent,
    GenerationFinished,
    GenerationOptions,
    PrefillProgress,
    Prompt,
)
from servekit.context import CancellationToken
from servekit.errors import EngineCrashed, FailedPrecondition

RANDOM_SEED = 2**32 - 1  # llama.cpp draws a new seed for this one
WARM_UP = [ChatMessage(role=ChatMessage.ROLE_USER, parts=[ContentPart(text="Hello")])]

Chunks = SimpleQueue[Mapping[str, Any] | Exception | None]


@dataclass(frozen=True, slots=True)
class LlamaCppConfig:
    """The settings of one llama.cpp engine.

    Attributes:
        weights: The GGUF file.
        window_tokens: The most tokens that a prompt and its answer may have together.
        max_prompt_bytes: The most bytes of UTF-8 in a prompt.
        slots: The number of texts that are generated at once; each holds a window of memory.
        threads: The number of threads that process prompts.
        decode_threads: The number of threads that generate tokens.
        prefill_chunk_tokens: The most tokens of a prompt that one step processes.
        temperature: The sampling temperature where the request sets none.
        top_p: The probability mass to sample from where the request sets none.
    """

    weights: Path
    window_tokens: int
    max_prompt_bytes: int
    slots: int
    threads: int
    decode_threads: int
    prefill_chunk_tokens: int
    temperature: float
    top_p: float


class LlamaCppChatModel:
    """A `ChatModel` on one llama.cpp engine with several slots.

    The engine requires an HTTP server of its own. It listens on a Unix socket in a folder that only this user can
    enter, and requires a key generated at start: no port is open. The socket serves the tokenizer; text is generated
    through direct calls, whose callback can stop the engine at every step.

    For a seed to give the same text twice, the prompt of a seeded request is processed anew rather than taken from the
    cache, and the engine's repacked kernels, which sum in another order for one row than for several, are disabled
    (they gain nothing here). Other requests in the same step can still change the rounding; it seldom shows in a text.

    Args:
        config: The settings of the engine.

    Raises:
        FailedPrecondition: The weights cannot be loaded.
    """

    def __init__(self, config: LlamaCppConfig) -> None:
        self._config = config
        self._folder = tempfile.TemporaryDirectory(prefix="polyphony-")
        socket = str(Path(self._folder.name) / "llama.sock")
        key = secrets.token_urlsafe()
        try:
            self._server = xllamacpp.Server(_params(config, socket, key))
        except RuntimeError as error:
            self._folder.cleanup()
            raise FailedPrecondition(f"llama.cpp cannot load {config.weights}") from error
        self._calls = ThreadPoolExecutor(config.slots, thread_name_prefix="llama")
        self._tokenizer = LlamaCppTokenizer(socket, key)

    def warm(self) -> None:
        prompt = self.prepare(WARM_UP, GenerationOptions(max_tokens=1, temperature=0.0))
        for _ in self.generate(prompt, CancellationToken()):
            pass

    def close(self) -> None:
        self._calls.shutdown()
        self._tokenizer.close()
        del self._server  # its destructor stops the engine
        self._folder.cleanup()

    def prepare(self, messages: Sequence[ChatMessage], options: GenerationOptions) -> Prompt:
        config = self._config
        return build_prompt(
            messages,
            options,
            self._tokenizer,
            max_bytes=config.max_prompt_bytes,
            window_tokens=config.window_tokens,
        )

    def generate(self, prompt: Prompt, cancellation: CancellationToken) -> Iterator[GenerationEvent]:
        chunks: Chunks = SimpleQueue()
        stop = CancellationToken(parent=cancellation)
        running = self._calls.submit(self._run, self._request(prompt), chunks, stop)
        finish_reason = ""
        try:
            while (chunk := chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                if progress := chunk.get("prompt_progress"):
                    if 0 < progress["processed"] < progress["total"]:
                        yield PrefillProgress(progress["processed"], progress["total"])
                    continue
                for choice in chunk["choices"]:
                    finish_reason = choice["finish_reason"] or finish_reason
                    if text := choice["delta"].get("content"):
                        yield GenerationDelta(text)
                if usage := chunk.get("usage"):
                    reason: FinishReason = "length" if finish_reason == "length" else "stop"
                    yield GenerationFinished(reason, usage["prompt_tokens"], usage["completion_tokens"])
            cancellation.raise_if_cancelled()
        finally:
            stop.cancel()
            wait([running])  # the slot is free only after the engine has stopped

    def _run(self, request: Mapping[str, Any], chunks: Chunks, stop: CancellationToken) -> None:
        """Drive the engine on this thread until the text ends or `stop` is set; the last chunk is None."""

        def on_chunk(chunk: Mapping[str, Any]) -> bool:
            chunks.put(engine_error(chunk["error"]) if "error" in chunk else chunk)
            return stop.cancelled

        try:
            self._server.handle_chat_completions(request, on_chunk)
        except ValueError as error:
            chunks.put(schema_error(str(error)))
        except RuntimeError as error:
            chunks.put(EngineCrashed(f"llama.cpp failed: {error}"))
        finally:
            chunks.put(None)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        options, config = prompt.options, self._config
        request = conversation(prompt.messages, options) | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
            "max_tokens": options.max_tokens,
            "stop": list(options.stop),
            "temperature": config.temperature if options.temperature is None else options.temperature,
            "top_p": config.top_p if options.top_p is None else options.top_p,
        }
        if options.seed is not None:
            request |= {"seed": options.seed % RANDOM_SEED, "cache_prompt": False}
        return request


def _params(config: LlamaCppConfig, socket: str, key: str) -> xllamacpp.CommonParams:
    params = xllamacpp.CommonParams()
    params.model.path = str(config.weights)
    params.n_parallel = config.slots
    params.n_ctx = config.window_tokens * config.slots  # divided among the slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = config.prefill_chunk_tokens
    params.cpuparams_batch.n_threads = config.threads
    params.cpuparams.n_threads = config.decode_threads
    params.no_extra_bufts = True  # disables the repacked kernels
    # The weights are not memory-mapped: the pages of a mapped file can be dropped and read again.
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = 0  # each slot keeps its last prompt; no second cache that grows to gigabytes
    params.cache_idle_slots = False
    params.prefill_assistant = False  # a last assistant message is history, not the beginning of the answer
    params.hostnames = [socket]
    params.api_keys = [key]
    params.n_threads_http = config.slots
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.verbosity = -1  # errors are raised, not logged
    return params
