"""What memory it takes to adapt a language model by QLoRA (Dettmers et al., arXiv:2305.14314).

Weights in NF4, embeddings and output layer in 16 bits; low-rank matrices beside every linear layer (Hu et al.,
arXiv:2106.09685), each number with its gradient and Adam's two moments in 32 bits; the input of every layer, kept
for the backward pass, and one layer worked out again: 34 bytes a token and width (Korthikanti et al.,
arXiv:2205.05198, without attention scores); logits in 16 and 32 bits, and their gradient.
"""

from dataclasses import dataclass

from capacity.planning.engines import CONTEXT
from capacity.planning.memory import Need
from capacity.planning.precision import weights_bytes
from capacity.planning.shapes import Shape, Transformer

ADAPTER_BYTES = 4 + 4 + 8
LAYER_BYTES = 34
LOGIT_BYTES = 2 + 4 + 4
SLACK = 1.05  # of PyTorch's caching allocator, an assumption


@dataclass(frozen=True)
class Recipe:
    """How it is adapted.

    Attributes:
        rank: Of the low-rank matrices.
        tokens: Of one step: texts times their length.
    """

    rank: int = 64
    tokens: int = 2048


def adapters(transformer: Transformer, rank: int) -> int:
    """Parameters of the low-rank matrices beside all linear layers: rank * (in + out) of each."""
    hidden, inner = transformer.hidden, transformer.intermediate
    queries, keys = transformer.heads * transformer.head_dim, transformer.kv_heads * transformer.head_dim
    attention = 2 * (hidden + queries) + 2 * (hidden + keys)
    mlp = (3 if transformer.gated else 2) * (hidden + inner)
    return transformer.layers * rank * (attention + mlp)


def qlora(shape: Shape, recipe: Recipe) -> Need:
    """What it takes; `cache` is what training keeps: adapters, gradients and moments.

    Raises:
        CapacityError: The model writes no text.
    """
    transformer = shape.writer
    weights = sum(weights_bytes(network.parameters, network.kept, network.precision or "nf4") for network in shape.networks)
    kept = adapters(transformer, recipe.rank) * ADAPTER_BYTES
    a_token = transformer.hidden * (2 * transformer.layers + LAYER_BYTES) + transformer.vocabulary * LOGIT_BYTES
    activations = recipe.tokens * a_token
    slack = round((weights + kept + activations) * (SLACK - 1))
    return Need(shape.id, "transformers", "nf4", weights, kept, activations, CONTEXT + slack)
