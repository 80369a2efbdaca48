"""The bits of a weight by its precision.

Scales and zero points are counted: a group of 128 4-bit weights with a 16-bit scale and a 4-bit zero point
takes 4 + 20/128 bits each (AWQ, arXiv:2306.00978; GPTQ, arXiv:2210.17323). NF4 with double quantization takes
4 + 8/64 + 32/(64 * 256) (QLoRA, arXiv:2305.14314). GGUF: 34 bytes for 32 weights in Q8_0; Q4_K_M mixes kinds,
4.84 for Llama 2 7B (llama.cpp, examples/quantize/README.md), a little more where rows are short: where the
catalogue names a file, its size counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Name = Literal["fp32", "fp16", "bf16", "int8", "awq", "gptq", "nf4", "q8_0", "q4_k_m"]
KEPT_BITS = 16.0  # of embeddings and the output layer, where a quantization leaves them out


@dataclass(frozen=True)
class Precision:
    """A precision of weights.

    Attributes:
        bits: The bits of one weight, scales included.
        whole: Whether embeddings and the output layer have this precision too.
        engine: The engine of language models that supports it.
    """

    bits: float
    whole: bool
    engine: Literal["vllm", "llama.cpp"]


PRECISIONS: Mapping[Name, Precision] = {
    "fp32": Precision(32.0, True, "vllm"),
    "fp16": Precision(16.0, True, "vllm"),
    "bf16": Precision(16.0, True, "vllm"),
    "int8": Precision(8.0, False, "vllm"),
    "awq": Precision(4 + 20 / 128, False, "vllm"),
    "gptq": Precision(4 + 20 / 128, False, "vllm"),
    "nf4": Precision(4 + 8 / 64 + 32 / (64 * 256), False, "vllm"),
    "q8_0": Precision(8.5, True, "llama.cpp"),
    "q4_k_m": Precision(4.84, True, "llama.cpp"),
}


def weights_bytes(parameters: int, kept: int, name: Name) -> int:
    """The bytes of the weights of a network.

    Args:
        parameters: The number of its parameters.
        kept: The number of those in embeddings and the output layer.
        name: The precision.
    """
    precision = PRECISIONS[name]
    bits = precision.bits
    kept_bits = bits if precision.whole else KEPT_BITS
    return round(((parameters - kept) * bits + kept * kept_bits) / 8)
