"""Bounds on the tokens a second of a GPU; they are no forecasts.

Writing a token reads every weight and the cache of its text once, so that memory bandwidth bounds it; reading
a prompt does two operations a weight and token, so that the arithmetic rate bounds it (Pope et al.,
arXiv:2211.05102). Engines reach half to four fifths of the first and less of the second.
"""

from dataclasses import dataclass

from capacity.planning.gpus import Gpu
from capacity.planning.memory import Load, MemoryNeed
from capacity.planning.shapes import Shape


@dataclass(frozen=True)
class Speed:
    """Bounds of one language model on one GPU.

    Attributes:
        model: Its id.
        alone: Tokens a second of a single text with a full context.
        together: Tokens a second of all concurrent texts.
        reading: Tokens of prompts a second, in prefill.
    """

    model: str
    alone: float
    together: float
    reading: float


def bound(shape: Shape, need: MemoryNeed, load: Load, gpu: Gpu) -> Speed:
    """The bounds of a language model whose needs are known."""
    bandwidth = gpu.bandwidth_gb_s * 1e9
    a_text = need.cache / load.concurrency
    parameters = sum(network.parameters for network in shape.networks)
    return Speed(
        model=shape.id,
        alone=bandwidth / (need.weights + a_text),
        together=load.concurrency * bandwidth / (need.weights + need.cache),
        reading=gpu.fp16_tflops * 1e12 / (2 * parameters),
    )
