"""What a model is made of, as data: a file of `catalogue/shapes` per model.

A shape is published: parameters and dimensions stand in the model's config.json or paper, and
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
        layers: How many.
        hidden: Width of the residual stream.
        intermediate: Width inside the MLP.
        heads: Query heads.
        kv_heads: Heads of keys and values (GQA).
        head_dim: Width of a head.
        gated: Whether the MLP has a gate (SwiGLU): a third matrix.
        tiled: Whether attention scores are never whole in memory (FlashAttention, arXiv:2205.14135).
        window: Tokens of the longest sequence.
        tokens: Tokens of one run, where that is fixed: patches of an image, frames of a recording, a batch of texts.
        gpu_tokens: The same on a GPU, where its service takes more there.
        cached: Whether it writes, and keeps keys and values of what it wrote.
        beams: Hypotheses it keeps while it writes.
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
        name: For people.
        parameters: How many.
        kept: Those of embeddings and the output layer, which most quantizations leave alone.
        precision: How its weights are kept, where that is not the model's way.
        file_bytes: Its weights as their file has them, in the model's own precision; 0 to count them.
        resident_bytes: What its library keeps beside the weights, where it was measured.
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
    """A model.

    Attributes:
        id: Its name; that of the catalogue's model where there is one.
        title: For people.
        source: Where its figures come from.
        services: The services that run it.
        engine: What runs it.
        precision: How its weights are kept.
        runs: Calls that run at once; 0 for a language model, which runs as many as are asked of it.
        pixels: Of an image it reads or makes, unless told otherwise.
        cpu_only: Its service keeps it off the GPU.
        hub: `OWNER/NAME@REVISION` of its weights by how they are kept, for engines that fetch them by themselves;
            without `@` where no revision is known.
        networks: What it is made of.
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
        """Whether it is a language model, whose memory goes by context and concurrency."""
        return self.runs == 0

    @property
    def writer(self) -> Transformer:
        """The network of a language model that writes.

        Raises:
            CapacityError: It is none, though it may write otherwise, as what transcribes does.
        """
        for network in self.networks:
            if self.writes_text and network.transformer and network.transformer.cached:
                return network.transformer
        raise CapacityError(f"{self.id} is no language model")


def names() -> list[str]:
    """The models whose shapes are known, sorted."""
    return sorted(row.name.removesuffix(".toml") for row in SHAPES.iterdir() if row.name.endswith(".toml"))


def shape(model_id: str) -> Shape:
    """The shape of one model.

    Raises:
        CapacityError: Nobody wrote it down.
    """
    source = SHAPES / f"{model_id}.toml"
    if not source.is_file():
        raise CapacityError(
            f"the shape of {model_id!r} is not known: describe it in catalogue/shapes; known are {', '.join(names())}"
        )
    row: dict[str, Any] = tomllib.loads(source.read_text())
    return Shape.model_validate({"id": model_id, **row})
