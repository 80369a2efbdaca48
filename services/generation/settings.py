"""What can be set of the generation service."""

from typing import ClassVar

from pydantic import Field

from servekit.ops.settings import Port, ProcessSettings


class GenerationSettings(ProcessSettings):
    """The knobs of `POLYPHONY_GENERATION_…`."""

    process: ClassVar[str] = "generation"

    port: Port = 50053
    metrics_port: Port = 9153

    slots: int = Field(default=4, ge=1)
    """Texts written at once. A step of the engine writes one token of each, so four cost little more than one;
    each slot holds a window of memory of its own."""

    decode_threads: int = Field(default=0, ge=0)
    """Threads that write tokens; 0 for half of `threads`, which read prompts. A token is hundreds of short steps
    with a barrier after each, so that beside other busy processes one late thread stops all."""

    prefill_tokens: int = Field(default=64, ge=16)
    """How much of a prompt is read in one step. A step cannot be interrupted: this bounds how long a long prompt
    freezes its neighbours and outlives its caller. On two cores 64 take 0.5 s and lose no throughput."""

    vllm: str = ""
    """The URL of the vLLM server that holds the models whose loader is `vllm`, such as `http://vllm:8000`."""

    max_prompt_bytes: int = Field(default=256 << 10, gt=0)
    """The longest prompt after its parts are cut, refused before the tokenizer sees it: some 60,000 tokens,
    more than any window here."""

    max_schema_bytes: int = Field(default=16 << 10, gt=0)
    """The longest JSON Schema."""

    max_schema_depth: int = Field(default=32, gt=0)
    """The deepest nesting of a JSON Schema."""

    max_queue_tokens: float = Field(default=8000.0, gt=0)
    """Tokens to be written that may wait together for a slot, a token to be read counted as a quarter of one;
    more are refused at once."""
