"""The memory of fine-tuning a language model by QLoRA (Dettmers et al., arXiv:2305.14314).

Weights in NF4, embeddings and output layer in 16 bits; low-rank matrices for every linear layer (Hu et al.,
arXiv:2106.09685), each number with its gradient and Adam's two moments in 32 bits; the input of every layer, kept
for the backward pass, and one layer worked out again: 34 bytes a token and width (Korthikanti et al.,
arXiv:2205.05198, without attention scores); logits in 16 and 32 bits, and their gradient.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from capacity.errors import CapacityError
from capacity.planning.engines import CONTEXT
from capacity.planning.gpus import Gpu
from capacity.planning.precision import weights_bytes
from capacity.planning.shapes import Shape, Transformer

ADAPTER_BYTES = 4 + 4 + 8
LAYER_BYTES = 34
LOGIT_BYTES = 2 + 4 + 4
SLACK = 1.05  # of PyTorch's caching allocator, an assumption


@dataclass(frozen=True)
class TrainingRecipe:
    """The parameters of the fine-tuning.

    Attributes:
        rank: The rank of the low-rank matrices.
        tokens: Tokens of one step: texts times their length.
    """

    rank: int = 64
    tokens: int = 2048


@dataclass(frozen=True)
class TrainingPlan:
    """The memory of fine-tuning a model, in bytes by part."""

    model: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """The total."""
        return sum(self.parts.values())


def adapters(transformer: Transformer, rank: int) -> int:
    """Parameters of the low-rank matrices of all linear layers: rank * (in + out) of each."""
    hidden, inner = transformer.hidden, transformer.intermediate
    queries, keys = transformer.heads * transformer.head_dim, transformer.kv_heads * transformer.head_dim
    attention = 2 * (hidden + queries) + 2 * (hidden + keys)
    mlp = (3 if transformer.gated else 2) * (hidden + inner)
    return transformer.layers * rank * (attention + mlp)


def qlora(shape: Shape, recipe: TrainingRecipe) -> TrainingPlan:
    """Compute the memory of QLoRA.

    Raises:
        CapacityError: It is no language model.
    """
    transformer = shape.writer
    a_token = transformer.hidden * (2 * transformer.layers + LAYER_BYTES) + transformer.vocabulary * LOGIT_BYTES
    parts = {
        "weights": sum(weights_bytes(row.parameters, row.kept, row.precision or "nf4") for row in shape.networks),
        "adapters": adapters(transformer, recipe.rank) * ADAPTER_BYTES,
        "activations": recipe.tokens * a_token,
    }
    return TrainingPlan(shape.id, parts | {"engine": CONTEXT + round(sum(parts.values()) * (SLACK - 1))})


def check(training: TrainingPlan, gpu: Gpu) -> None:
    """Check that the fine-tuning fits on a GPU.

    Raises:
        CapacityError: The fine-tuning does not fit.
    """
    if training.total <= gpu.usable:
        return
    largest = max(training.parts, key=lambda name: training.parts[name])
    raise CapacityError(
        f"adapting {training.model} does not fit on one {gpu.title}: it needs {training.total / 1e9:.1f} GB, "
        f"{(training.total - gpu.usable) / 1e9:.1f} more than the {gpu.usable / 1e9:.1f} that a plan may fill, "
        f"most of it for {largest}: {training.parts[largest] / 1e9:.1f}. Fewer --adapt-tokens take less"
    )
