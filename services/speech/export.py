"""Exports the speaker encoder of Resemblyzer to one ONNX graph, without torch.

The network is Wan et al. 2018 (arXiv:1710.10467), trained by Corentin Jemine: three LSTM layers over the mel
frames of 1.6 s, and a linear layer, ReLU and L2 normalization of the last state. It has only standard operators, so
that every ONNX runtime supports it.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from servekit.models.exports import exported
from services.speech.checkpoint import read_checkpoint

EXPORTER = 1  # increased when the graph changes, so that older files are exported again
OPSET = 20
IR_VERSION = 10  # the oldest version with opset 20, for older runtimes
MIN_NORM = 1e-6  # avoids a division by zero for silence

Weights = Mapping[str, NDArray[np.float32]]


def network(folder: Path) -> Path | bytes:
    """Export the model in `folder` if its ONNX file is missing, or if the weights or the exporter have changed.

    Returns the path of the file, or its bytes if the folder is read-only.

    The network takes `mel`, float32 `[batch, frames, channels]`; gives `embedding`, float32 `[batch, dimensions]`,
    L2-normalized.
    """
    weights = folder / "pretrained.pt"
    return exported(weights, EXPORTER, lambda: build(read_checkpoint(weights, "model_state")).SerializeToString())


def build(weights: Weights) -> onnx.ModelProto:
    """Build the network from the weights of the checkpoint: `lstm.weight_ih_l0`, ..., `linear.bias`."""
    channels = weights["lstm.weight_ih_l0"].shape[1]
    dimensions, hidden = weights["linear.weight"].shape
    layers = sum(name.startswith("lstm.weight_ih_l") for name in weights)
    constants = {
        "one": np.array([1], np.int64),
        "zero": np.array([0], np.int64),
        "least": np.array(MIN_NORM, np.float32),
        "linear.weight": weights["linear.weight"],
        "linear.bias": weights["linear.bias"],
    }
    nodes = [helper.make_node("Transpose", ["mel"], ["frames_0"], perm=[1, 0, 2])]  # [frames, batch, channels]
    for layer in range(layers):
        for part, array in _lstm(weights, layer).items():
            constants[f"{part}_{layer}"] = array
        inputs = [f"frames_{layer}", *(f"{part}_{layer}" for part in ("input", "state", "bias"))]
        nodes += [
            helper.make_node("LSTM", inputs, [f"directed_{layer}", f"last_{layer}"], hidden_size=hidden),
            helper.make_node("Squeeze", [f"directed_{layer}", "one"], [f"frames_{layer + 1}"]),
        ]
    nodes[-1] = helper.make_node("Squeeze", [f"last_{layers - 1}", "zero"], ["last"])
    nodes += [
        helper.make_node("Gemm", ["last", "linear.weight", "linear.bias"], ["projected"], transB=1),
        helper.make_node("Relu", ["projected"], ["positive"]),
        helper.make_node("ReduceL2", ["positive", "one"], ["length"]),
        helper.make_node("Max", ["length", "least"], ["norm"]),
        helper.make_node("Div", ["positive", "norm"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "speaker_encoder",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, ["batch", "frames", channels])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dimensions])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _lstm(weights: Weights, layer: int) -> dict[str, NDArray[np.float32]]:
    """The weights of a layer in the layout of ONNX: one direction, and its order of the gates."""
    input_bias, state_bias = (_gates(weights[f"lstm.bias_{part}_l{layer}"]) for part in ("ih", "hh"))
    return {
        "input": _gates(weights[f"lstm.weight_ih_l{layer}"])[None],
        "state": _gates(weights[f"lstm.weight_hh_l{layer}"])[None],
        "bias": np.concatenate([input_bias, state_bias])[None],
    }


def _gates(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder gates from torch (input, forget, cell, output) to ONNX (input, output, forget, cell)."""
    entry, forget, cell, output = np.split(rows, 4)
    return np.concatenate([entry, output, forget, cell])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Export a speaker encoder to ONNX.")
    parser.add_argument("folder", type=Path, help="folder of pretrained.pt")
    path = network(parser.parse_args().folder)
    if isinstance(path, bytes):
        parser.error("the folder must be writable")
    sys.stdout.write(f"{path}\n")
