"""llama.cpp without a service: each line of input is a prompt, each line of output the seconds to its first token."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import xllamacpp

MAX_TOKENS = 4


def _server(weights: str, slots: int, threads: int, prefill_tokens: int, window: int) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.n_parallel = slots
    params.n_ctx = window * slots
    params.kv_unified = False
    params.n_batch = params.n_ubatch = prefill_tokens
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.no_extra_bufts = True
    params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.cache_ram_mib = 0
    params.cache_idle_slots = False
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.port = 0
    params.verbosity = -1
    return xllamacpp.Server(params)


def main() -> None:
    """Process the lines of the input until it ends."""
    weights, *numbers = sys.argv[1:]
    server = _server(weights, *map(int, numbers))
    for line in sys.stdin:
        request = {
            "messages": [{"role": "user", "content": line.strip()}],
            "max_tokens": MAX_TOKENS,
            "temperature": 0.0,
            "stream": True,
        }
        first: list[float] = []

        def on_chunk(chunk: Mapping[str, Any], first: list[float] = first) -> bool:
            if not first and any(choice["delta"].get("content") for choice in chunk.get("choices", ())):
                first.append(time.perf_counter())
            return False

        began = time.perf_counter()
        server.handle_chat_completions(request, on_chunk)
        sys.stdout.write(f"{first[0] - began}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
