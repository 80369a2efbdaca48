"""The network of the chassis benchmark, which takes about 300 us per row on one core."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from servekit.models.backends.onnx import OnnxBackend

WIDTH = 512
MICROSECONDS_A_ROW = 300
BATCH = 32


def _graph(layers: int) -> bytes:
    weight = np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32) / WIDTH**0.5
    nodes = []
    for layer in range(layers):
        nodes.append(helper.make_node("MatMul", [f"h{layer}", "w"], [f"m{layer}"]))
        nodes.append(helper.make_node("Tanh", [f"m{layer}"], [f"h{layer + 1}"]))
    graph = helper.make_graph(
        nodes,
        "rows",
        [helper.make_tensor_value_info("h0", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info(f"h{layers}", TensorProto.FLOAT, ["rows", WIDTH])],
        [numpy_helper.from_array(weight, "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def rows_per_second(
    backend: OnnxBackend, seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The throughput of the engine in a loop over full batches."""
    name = backend.inputs[0].name
    batch: NDArray[np.generic] = np.ones((BATCH, WIDTH), np.float32)
    backend.infer({name: batch})
    began, rows = clock(), 0
    while clock() - began < seconds:
        backend.infer({name: batch})
        rows += BATCH
    return rows / (clock() - began)


def save(path: Path) -> None:
    """Write a network that takes `MICROSECONDS_A_ROW` on one core of this machine, sized by measuring."""
    layers = 16
    for _ in range(3):
        measured = 1e6 / rows_per_second(OnnxBackend(_graph(layers)), 0.4, time.thread_time)
        layers = max(1, round(layers * MICROSECONDS_A_ROW / measured))
    path.write_bytes(_graph(layers))
