"""Settings of the generation service."""

from typing import ClassVar

from pydantic import Field

from servekit.ops.ports import PORTS
from servekit.ops.settings import Port, ProcessSettings


class GenerationSettings(ProcessSettings):
    """The settings of `POLYPHONY_GENERATION_…`."""

    process: ClassVar[str] = "generation"

    port: Port = PORTS["generation"].grpc
    metrics_port: Port = PORTS["generation"].metrics

    slots: int = Field(default=4, ge=1)
    """Texts generated concurrently. A step of the engine decodes one token of each, so that four cost little more than
    one; each slot has its own KV cache."""

    decode_threads: int = Field(default=0, ge=0)
    """Threads that decode; 0 means half of `threads`, which prefill. A token takes hundreds of short steps with a
    barrier after each, so that next to other busy processes one late thread delays all."""

    prefill_chunk_tokens: int = Field(default=64, ge=16)
    """Tokens of a prompt that one step prefills. A step cannot be interrupted: this bounds how long a long prompt
    blocks other requests and runs on after its cancellation. On two cores 64 take 0.5 s and lose no throughput."""

    vllm_url: str = ""
    """The URL of the vLLM server for models whose runtime is `vllm`, such as `http://vllm:8000`."""

    max_prompt_bytes: int = Field(default=256 << 10, gt=0)
    """The longest prompt in bytes after its parts are truncated, checked before tokenization: some 60,000 tokens, more
    than any context window here."""

    max_schema_bytes: int = Field(default=16 << 10, gt=0)
    """The largest JSON Schema in bytes."""

    max_schema_depth: int = Field(default=32, gt=0)
    """The deepest nesting of a JSON Schema."""

    max_queue_tokens: float = Field(default=8000.0, gt=0)
    """The largest queue in tokens to decode, a token to prefill counted as a quarter of one; more is rejected."""
