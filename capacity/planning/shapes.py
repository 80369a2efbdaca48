"""Shapes of models: a file of `catalogue/shapes` per model.

Shapes are published: parameters and dimensions are in the model's config.json or paper, and
what was measured says so in a comment.
"""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from capacity.errors import CapacityError
from capacity.planning.precision import Name

Engine = Literal["vllm", "llama.cpp", "ctranslate2", "onnxruntime", "diffusers", "transformers"]
SHAPES = files("catalogue") / "shapes"


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Transformer(_Row):
    """The dimensions of a transformer.

    Attributes:
        layers: The number of layers.
        hidden: Width of the residual stream.
        intermediate: Width inside the MLP.
        heads: Query heads.
        kv_heads: Heads of keys and values (GQA).
        head_dim: Width of a head.
        gated: Whether the MLP has a gate (SwiGLU): a third matrix.
        tiled: Whether attention scores are computed in tiles (FlashAttention, arXiv:2205.14135).
        window: Tokens of the longest sequence.
        tokens: Tokens of one run, where that is fixed: patches of an image, frames of a recording, a batch of texts.
        gpu_tokens: The same on a GPU, where its service takes more there.
        cached: Whether it generates, with a KV cache.
        beams: The width of beam search.
        cross_tokens: Tokens of another network that it attends to, their keys and values kept.
        vocabulary: Width of its logits; 0 without.
    """

    layers: int = Field(gt=0)
    hidden: int = Field(gt=0)
    intermediate: int = Field(gt=0)
    heads: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_dim: int = Field(gt=0)
    gated: bool = False
    tiled: bool = True
    window: int = Field(gt=0)
    tokens: int = 0
    gpu_tokens: int = 0
    cached: bool = False
    beams: int = 1
    cross_tokens: int = 0
    vocabulary: int = 0


class Network(_Row):
    """One network of a model; the networks of a model run one after another.

    Attributes:
        name: The name in tables.
        parameters: The number of parameters.
        kept: Those of embeddings and the output layer, which most quantizations leave alone.
        precision: The precision of its weights, if it differs from the model's.
        file_bytes: Its weights as their file has them, in the model's own precision; 0 to count them.
        resident_bytes: The bytes that its library keeps besides the weights, where they were measured.
        bytes_per_pixel: Peak of activations per pixel of the image, for networks of convolutions.
        activation_bytes: Peak of activations of one run, where it was measured.
        transformer: Its dimensions, if it is one.
    """

    name: str
    parameters: int = Field(gt=0)
    kept: int = 0
    precision: Name | None = None
    file_bytes: int = 0
    resident_bytes: int = 0
    bytes_per_pixel: float = 0.0
    activation_bytes: int = 0
    transformer: Transformer | None = None


class Shape(_Row):
    """The shape of a model.

    Attributes:
        id: The model's id, as in the catalogue.
        title: The title in tables.
        source: The source of its figures.
        services: The services that run it.
        engine: The engine that runs it.
        precision: The precision of its weights.
        runs: Concurrent requests; 0 for a language model, whose concurrency is an input.
        pixels: The default pixels of an image that it reads or generates.
        cpu_only: Whether its service runs it on the CPU.
        hub: `OWNER/NAME@REVISION` of its weights by how they are kept, for engines that fetch them by themselves;
            without `@` where no revision is known.
        networks: Its networks.
    """

    id: str
    title: str
    source: str
    services: tuple[str, ...] = Field(min_length=1)
    engine: Engine
    precision: Name
    runs: int = Field(default=1, ge=0)
    pixels: int = 0
    cpu_only: bool = False
    hub: Mapping[Name, str] = {}
    networks: tuple[Network, ...] = Field(min_length=1)

    @property
    def writes_text(self) -> bool:
        """Whether it is a language model, whose memory depends on context and concurrency."""
        return self.runs == 0

    @property
    def writer(self) -> Transformer:
        """The generating network of a language model.

        Raises:
            CapacityError: It is no language model; a transcriber, which also generates text, is none.
        """
        for network in self.networks:
            if self.writes_text and network.transformer and network.transformer.cached:
                return network.transformer
        raise CapacityError(f"{self.id} is not a language model")


def names() -> list[str]:
    """The models whose shapes are known, sorted."""
    return sorted(row.name.removesuffix(".toml") for row in SHAPES.iterdir() if row.name.endswith(".toml"))


def shape(model_id: str) -> Shape:
    """The shape of one model.

    Raises:
        CapacityError: There is no such file.
    """
    source = SHAPES / f"{model_id}.toml"
    if not source.is_file():
        raise CapacityError(
            f"the shape of {model_id!r} is not known: describe it in catalogue/shapes; known are {', '.join(names())}"
        )
    row: dict[str, Any] = tomllib.loads(source.read_text())
    return Shape.model_validate({"id": model_id, **row})
