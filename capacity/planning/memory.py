"""The memory that a model needs, by part, computed from its shape.

Weights: parameters times bits (`precision.py`).
Cache: 2 * layers * kv_heads * head_dim * bytes a token, of every sequence that runs (Pope et al., arXiv:2211.05102),
    in the engine's blocks (PagedAttention, arXiv:2309.06180).
Activations: the largest of its networks, since they run one after another. Of a transformer, the widest point of a
    layer: the residual stream and its normed copy, the MLP's inner width twice, three times with a gate; attention
    scores, where they are in memory as a whole; and the logits. Of convolutions, bytes per pixel.
Overhead: what the engine takes (`engines.py`).
"""

from dataclasses import dataclass

from capacity.errors import CapacityError
from capacity.planning.engines import COSTS, Device, EngineCost
from capacity.planning.precision import PRECISIONS, Name, weights_bytes
from capacity.planning.shapes import Engine, Network, Shape, Transformer

GB = 1e9


@dataclass(frozen=True)
class Load:
    """The load of the models.

    Attributes:
        context: Tokens of prompt and answer together, of a language model.
        concurrency: Texts that a language model generates concurrently.
        prefill: Tokens of a prefill chunk; 0 for the engine's default.
        images: Images of one request.
        pixels: Pixels of an image; 0 for each model's default.
        offload: Whether only the running network of a diffusion model is on the GPU.
    """

    context: int = 4096
    concurrency: int = 4
    prefill: int = 0
    images: int = 1
    pixels: int = 0
    offload: bool = False


@dataclass(frozen=True)
class MemoryNeed:
    """The memory that one model needs, in bytes."""

    model: str
    engine: Engine
    precision: Name
    weights: int
    cache: int
    activations: int
    overhead: int

    @property
    def total(self) -> int:
        """The total."""
        return sum(self.parts.values())

    @property
    def parts(self) -> dict[str, int]:
        """The parts by name."""
        return {
            "weights": self.weights,
            "KV cache": self.cache,
            "activations": self.activations,
            "engine": self.overhead,
        }

    @property
    def largest(self) -> str:
        """The largest part."""
        return max(self.parts, key=lambda name: self.parts[name])


def need(shape: Shape, load: Load, device: Device, quantization: Name | None = None, first: bool = True) -> MemoryNeed:
    """Compute the memory that a model needs on a device.

    Args:
        shape: The model.
        load: Its load.
        device: The device that runs it.
        quantization: The precision of a language model, None for that of its shape; it selects the engine.
        first: Whether the process is counted with this model; models of one service share one.

    Raises:
        CapacityError: The context exceeds the model's window, or its engine does not run there.
    """
    precision = quantization if quantization and shape.writes_text else shape.precision
    engine = engine_of(shape, quantization)
    if (engine, device) not in COSTS:
        raise CapacityError(f"{shape.id} runs on {engine}, which the planner supports only on a GPU: set --gpu")
    if shape.writes_text and load.context > shape.writer.window:
        raise CapacityError(f"{shape.id} has a window of {shape.writer.window:,} tokens: --context must not exceed it")
    cost = COSTS[engine, device]
    weights = [_weights(network, shape, precision, cost, engine) for network in shape.networks]
    work = [round(_activations(network, shape, load, device, cost) * cost.arena) for network in shape.networks]
    if load.offload and engine == "diffusers":
        # The network that needs the most, with its weights; the others wait in the machine's memory.
        together = max(range(len(weights)), key=lambda index: weights[index] + work[index])
        weights, work = [weights[together]], [work[together]]
    cache = sum(_cache(network, shape, load, cost) for network in shape.networks)
    held = sum(weights) + cache + max(work)
    slack = round(held * (cost.slack - 1))
    overhead = cost.session * len(shape.networks) + cost.graphs + slack + (cost.process if first else 0)
    return MemoryNeed(shape.id, engine, precision, sum(weights), cache, max(work), overhead)


def engine_of(shape: Shape, quantization: Name | None) -> Engine:
    """The engine of a model; the quantization selects that of a language model."""
    if quantization and shape.writes_text and quantization != shape.precision:
        return PRECISIONS[quantization].engine
    return shape.engine


def _weights(network: Network, shape: Shape, precision: Name, cost: EngineCost, engine: Engine) -> int:
    # A quantization is the language model's: a network that names its own precision keeps it.
    kept_as = network.precision or precision
    size = weights_bytes(network.parameters, network.kept, kept_as)
    if network.file_bytes and kept_as == shape.precision and engine == shape.engine:
        size = network.file_bytes
    return size * (1 if network.transformer else cost.copies) + network.resident_bytes


def sequences(shape: Shape, load: Load) -> int:
    """The concurrent requests of a model."""
    return load.concurrency if shape.writes_text else shape.runs


def cache_bytes(transformer: Transformer, tokens: int, element: int) -> int:
    """Bytes of the KV cache of this many tokens."""
    return 2 * transformer.layers * transformer.kv_heads * transformer.head_dim * element * tokens


def _cache(network: Network, shape: Shape, load: Load, cost: EngineCost) -> int:
    transformer = network.transformer
    if not transformer or not transformer.cached:
        return 0
    tokens = min(load.context, transformer.window) if shape.writes_text else transformer.window
    tokens = -(-tokens // cost.block) * cost.block
    a_call = tokens * transformer.beams + transformer.cross_tokens
    return cache_bytes(transformer, a_call * sequences(shape, load), cost.cache_element)


def _activations(network: Network, shape: Shape, load: Load, device: Device, cost: EngineCost) -> int:
    """The peak of activations of one network over the concurrent requests."""
    calls = 1 if shape.writes_text else shape.runs
    peak = network.activation_bytes * calls
    pixels = (load.pixels or shape.pixels) * load.images
    peak += round(network.bytes_per_pixel * pixels) * calls
    transformer = network.transformer
    if transformer is None:
        return peak
    if transformer.tokens:
        runs = load.images if shape.writes_text else calls
        tokens = ((device == "gpu" and transformer.gpu_tokens) or transformer.tokens) * runs
        rows = 0
    elif shape.writes_text:
        tokens = min(load.prefill or cost.prefill or load.context, load.context)
        rows = max(load.concurrency, tokens) if cost.every_logit else load.concurrency
    else:  # a decoder writes a token of each hypothesis at a time
        tokens = transformer.beams * calls
        rows = tokens
    width = 2 * transformer.hidden + (3 if transformer.gated else 2) * transformer.intermediate
    scores = 0 if transformer.tiled else transformer.heads * transformer.window
    return peak + tokens * (width + scores) * cost.element + rows * transformer.vocabulary * cost.logit
