from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper

from servekit.errors import EngineCrashed, FailedPrecondition, InvalidArgument, OutOfMemory
from servekit.models.backend import TensorSpec
from servekit.models.backends.onnx import OnnxBackend


def network(nodes, inputs, outputs) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


DOUBLER = network(
    [helper.make_node("Add", ["x", "x"], ["y"])],
    [("x", TensorProto.FLOAT, ["batch", 3])],
    [("y", TensorProto.FLOAT, ["batch", 3])],
)
# As many zeros as it is told.
FILLER = network(
    [helper.make_node("ConstantOfShape", ["shape"], ["y"])],
    [("shape", TensorProto.INT64, [1])],
    [("y", TensorProto.FLOAT, ["n"])],
)

# Takes rows of three values, which its input does not say.
SHIFTER = network(
    [
        helper.make_node("Constant", [], ["shift"], value_floats=[1.0, 2.0, 3.0]),
        helper.make_node("Add", ["x", "shift"], ["y"]),
    ],
    [("x", TensorProto.FLOAT, ["batch", "n"])],
    [("y", TensorProto.FLOAT, ["batch", "n"])],
)


def test_it_runs_a_network_and_knows_its_shapes(tmp_path):
    path = tmp_path / "doubler.onnx"
    path.write_bytes(DOUBLER)
    for model in (path, DOUBLER):
        backend = OnnxBackend(model, threads=1)
        assert backend.inputs == (TensorSpec("x", np.dtype(np.float32), (-1, 3)),)
        assert backend.outputs == (TensorSpec("y", np.dtype(np.float32), (-1, 3)),)
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        np.testing.assert_array_equal(backend.infer({"x": x})["y"], 2 * x)


def test_several_threads_share_it():
    backend = OnnxBackend(DOUBLER, threads=1)
    inputs = [np.full((4, 3), n, np.float32) for n in range(200)]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda x: backend.infer({"x": x})["y"], inputs))
    for x, y in zip(inputs, outputs, strict=True):
        np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((2, 3), np.float64)},
        {"x": np.zeros((2, 4), np.float32)},
        {"x": np.zeros(3, np.float32)},
        {"z": np.zeros((2, 3), np.float32)},
        {},
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays):
    with pytest.raises(InvalidArgument) as raised:
        OnnxBackend(DOUBLER).infer(arrays)
    assert raised.value.field == "inputs"


def test_sizes_that_an_operator_does_not_take_are_refused():
    backend = OnnxBackend(SHIFTER)
    with pytest.raises(InvalidArgument, match=r"x float32 \[-1, -1\], got x float32 \[2, 4\]") as raised:
        backend.infer({"x": np.zeros((2, 4), np.float32)})
    assert "/" not in raised.value.message
    assert backend.infer({"x": np.zeros((2, 3), np.float32)})["y"].shape == (2, 3)


def test_no_memory_is_out_of_memory_and_the_engine_lives_on():
    backend = OnnxBackend(FILLER)
    with pytest.raises(OutOfMemory):
        backend.infer({"shape": np.array([1 << 46])})
    assert len(backend.infer({"shape": np.array([5])})["y"]) == 5


def test_a_provider_that_is_not_there_is_refused_rather_than_replaced():
    with pytest.raises(FailedPrecondition, match="TensorrtExecutionProvider"):
        OnnxBackend(DOUBLER, provider="tensorrt")


def test_a_closed_engine_is_gone():
    backend = OnnxBackend(DOUBLER)
    backend.close()
    backend.close()
    with pytest.raises(EngineCrashed):
        backend.infer({"x": np.zeros((1, 3), np.float32)})
