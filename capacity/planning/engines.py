"""The memory that an engine takes besides the model, on a GPU and on a CPU.


Of GPUs, figures are what others have published (issues of the engines' repositories) or assumptions; of CPUs,
they were measured here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from capacity.planning.shapes import Engine

Device = Literal["gpu", "cpu"]
MIB = 2**20
CONTEXT = 500_000_000  # a CUDA context with the libraries' kernels and workspaces: 0.3 to 0.6 GB, an assumption


@dataclass(frozen=True)
class EngineCost:
    """One engine on one kind of device.

    Attributes:
        process: Bytes of the process and its libraries, or of the CUDA context: once a process.
        session: Bytes of each network that is loaded.
        graphs: Bytes of captured CUDA graphs.
        copies: The number of copies of the weights of convolutions.
        element: Bytes of an activation.
        cache_element: Bytes of a number in the KV cache.
        block: Tokens of a block of the KV cache.
        prefill: Tokens of a prefill chunk; 0 for a whole prompt.
        logit: Bytes for each logit of a step: the logits themselves and what sampling makes of them.
        every_logit: Whether it computes logits for every token of a prompt, not only for the last.
        arena: Memory of its allocator over the peak of activations, as a factor.
        slack: Memory of its allocator over the total, as a factor.
    """

    process: int
    session: int = 0
    graphs: int = 0
    copies: int = 1
    element: int = 2
    cache_element: int = 2
    block: int = 1
    prefill: int = 0
    logit: int = 4
    every_logit: bool = False
    arena: float = 1.0
    slack: float = 1.0


COSTS: Mapping[tuple[Engine, Device], EngineCost] = {
    # PagedAttention, arXiv:2309.06180: blocks of 16 tokens. Steps of 2,048 tokens are its default with chunked
    # prefill. Sampling sorts: 4 bytes of a logit, 4 of its sorted copy, 8 of its index, 4 + 4 of probabilities.
    # Graphs took 0.36 to 1.62 GiB in published logs.
    ("vllm", "gpu"): EngineCost(process=CONTEXT, graphs=800_000_000, block=16, prefill=2048, logit=24),
    # Ours is built for CPUs. Activations are 32 bits wide, the cache 16 and padded to 256 tokens; a step reads
    # `prefill_chunk_tokens` of our settings.
    ("llama.cpp", "cpu"): EngineCost(process=58 * MIB, element=4, block=256, prefill=64, every_logit=True),
    ("ctranslate2", "gpu"): EngineCost(process=CONTEXT),
    ("ctranslate2", "cpu"): EngineCost(process=75 * MIB, element=4, cache_element=4),
    # On a GPU its arena grows by powers of two (arena_extend_strategy, CUDA execution provider): up to twice. On a
    # CPU ours is off, and convolutions keep a second copy of their weights, in the order that its kernels want.
    ("onnxruntime", "gpu"): EngineCost(process=CONTEXT, element=4, arena=2.0),
    ("onnxruntime", "cpu"): EngineCost(process=80 * MIB, session=10 * MIB, copies=2, element=4),
    # PyTorch's caching allocator holds blocks that nothing fits: 5 percent is an assumption.
    ("transformers", "gpu"): EngineCost(process=CONTEXT, slack=1.05),
    ("diffusers", "gpu"): EngineCost(process=CONTEXT, slack=1.05),
}
