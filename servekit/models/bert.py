"""Export of a BERT sentence encoder from its safetensors to one ONNX graph, without torch.

The graph is Devlin et al. 2018 (arXiv:1810.04805) with Reimers and Gurevych's mean pooling
(2019, arXiv:1908.10084) and the L2 norm inside: token ids in, unit vectors out. It uses only
standard operators, so that every ONNX engine runs it.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

from servekit.models.exports import exported

EXPORTER = 1  # incremented when the graph changes, so that older files are exported again
OPSET = 20
IR_VERSION = 10  # the lowest of opset 20, for older engines

Weights = Mapping[str, NDArray[np.float32]]


def network(folder: Path) -> Path | bytes:
    """Return the ONNX file of the model in `folder`, exported if it is missing or its weights have changed; its bytes
    where the folder is read-only.

    The network maps `input_ids` and `attention_mask`, int64 `[batch, tokens]`, to `embedding`, float32
    `[batch, dimensions]`, L2-normalised.
    """
    weights, config = folder / "model.safetensors", folder / "config.json"
    return exported(
        weights, EXPORTER, lambda: build(load_file(weights), json.loads(config.read_text())).SerializeToString()
    )


def build(weights: Weights, config: Mapping[str, Any]) -> onnx.ModelProto:
    """Build the network of a `BertModel` from its weights, by their names in transformers, and its config.json."""
    graph = _Graph(weights)
    hidden = _embeddings(graph, config)
    mask = graph.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    kept = graph.op("Unsqueeze", mask, graph.integers(1, 2))  # [batch, 1, 1, tokens]
    bias = graph.op("Mul", graph.op("Sub", graph.number(1.0), kept), graph.number(-1e9))
    for layer in range(config["num_hidden_layers"]):
        hidden = _layer(graph, config, f"encoder.layer.{layer}", hidden, bias)
    # The mean and the sum point the same way, so that the norm needs no division by the count.
    kept = graph.op("Unsqueeze", mask, graph.integers(2))  # [batch, tokens, 1]
    total = graph.op("ReduceSum", graph.op("Mul", hidden, kept), graph.integers(1), keepdims=0)
    return graph.model(graph.op("LpNormalization", total, axis=-1, p=2), config["hidden_size"])


def _embeddings(graph: "_Graph", config: Mapping[str, Any]) -> str:
    """Word, position and segment embeddings. The last Gather fails for a text of more tokens than positions."""
    length = graph.op("Squeeze", graph.op("Shape", "input_ids", start=1, end=2))
    order = graph.op("Range", graph.scalar(0), length, graph.scalar(1))
    # Only segment 0 is used: its vector is added to that of each position in advance.
    table = graph.weights["embeddings.position_embeddings.weight"]
    table = table + graph.weights["embeddings.token_type_embeddings.weight"][0]
    positions = graph.op("Gather", graph.constant("positions", table), order)
    words = graph.op("Gather", graph.weight("embeddings.word_embeddings.weight"), "input_ids")
    return _norm(graph, config, "embeddings.LayerNorm", graph.op("Add", words, positions))


def _layer(graph: "_Graph", config: Mapping[str, Any], name: str, hidden: str, bias: str) -> str:
    heads = config["num_attention_heads"]
    size = config["hidden_size"] // heads
    split = graph.integers(0, 0, heads, size)
    query, key, value = (
        graph.op("Reshape", _dense(graph, f"{name}.attention.self.{part}", hidden, scale), split)
        for part, scale in (("query", size**-0.5), ("key", 1.0), ("value", 1.0))
    )
    scores = graph.op(
        "MatMul",
        graph.op("Transpose", query, perm=[0, 2, 1, 3]),
        graph.op("Transpose", key, perm=[0, 2, 3, 1]),
    )
    attention = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
    mixed = graph.op("MatMul", attention, graph.op("Transpose", value, perm=[0, 2, 1, 3]))
    joined = graph.op("Reshape", graph.op("Transpose", mixed, perm=[0, 2, 1, 3]), graph.integers(0, 0, heads * size))
    attended = _dense(graph, f"{name}.attention.output.dense", joined)
    hidden = _norm(graph, config, f"{name}.attention.output.LayerNorm", graph.op("Add", attended, hidden))
    inner = graph.op("Gelu", _dense(graph, f"{name}.intermediate.dense", hidden))
    outer = _dense(graph, f"{name}.output.dense", inner)
    return _norm(graph, config, f"{name}.output.LayerNorm", graph.op("Add", outer, hidden))


def _dense(graph: "_Graph", name: str, hidden: str, scale: float = 1.0) -> str:
    """A linear layer whose result is multiplied by `scale`; the weights hold the factor."""
    weight = graph.constant(f"{name}.weight", graph.weights[f"{name}.weight"].T * np.float32(scale))
    bias = graph.constant(f"{name}.bias", graph.weights[f"{name}.bias"] * np.float32(scale))
    return graph.op("Add", graph.op("MatMul", hidden, weight), bias)


def _norm(graph: "_Graph", config: Mapping[str, Any], name: str, hidden: str) -> str:
    weight, bias = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    return graph.op("LayerNormalization", hidden, weight, bias, axis=-1, epsilon=config["layer_norm_eps"])


class _Graph:
    """A builder of an ONNX graph; each method adds to the graph and returns the name of a tensor."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: NDArray[np.float32 | np.int64]) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def number(self, value: float) -> str:
        return self.constant(f"number_{value}", np.array(value, np.float32))

    def scalar(self, value: int) -> str:
        return self.constant(f"scalar_{value}", np.array(value, np.int64))

    def integers(self, *values: int) -> str:
        return self.constant(f"integers_{values}", np.array(values, np.int64))

    def model(self, result: str, dimensions: int) -> onnx.ModelProto:
        def tensor(name: str, dtype: int, second: str | int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, dtype, ["batch", second])

        self._nodes.append(helper.make_node("Identity", [result], ["embedding"]))
        graph = helper.make_graph(
            self._nodes,
            "sentence_encoder",
            [tensor(name, TensorProto.INT64, "tokens") for name in ("input_ids", "attention_mask")],
            [tensor("embedding", TensorProto.FLOAT, dimensions)],
            list(self._constants.values()),
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Export a BERT sentence encoder to ONNX.")
    parser.add_argument("folder", type=Path, help="the folder of model.safetensors and config.json")
    made = network(parser.parse_args().folder)
    if isinstance(made, bytes):
        parser.error("the folder must be writable")
    sys.stdout.write(f"{made}\n")
