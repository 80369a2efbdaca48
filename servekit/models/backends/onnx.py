"""ONNX Runtime as a tensor engine, on a CPU or an NVIDIA GPU."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from servekit.echo import cut
from servekit.errors import EngineCrashed, FailedPrecondition, InvalidArgument, OutOfMemory
from servekit.models.backend import Arrays, Provider, TensorSpec

# Each provider falls back to the next for operators that it lacks.
_PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
_DTYPES = {"float": "float32", "double": "float64"}
_FAILURES = (ort_errors.Fail, ort_errors.RuntimeException, ort_errors.EngineError, ort_errors.EPFail, MemoryError)
_OUT_OF_MEMORY = ("Failed to allocate memory", "out of memory", "bad_alloc", "bad allocation")
_CRASHED = (
    "CUDA failure",
    "CUDNN failure",
    "CUBLAS failure",
    "illegal memory access",
)  # a CUDA context does not recover

_OPERATOR = "while running "  # begins the name of the operator that failed


class OnnxBackend:
    """One session. `infer` may be called from several threads: each runs on its own core when `threads` is 1.

    Args:
        model: The path of an ONNX file, or its bytes.
        threads: The most cores that one `infer` uses.
        provider: The execution provider.

    Raises:
        FailedPrecondition: This build of ONNX Runtime, or this machine, lacks the provider.
    """

    def __init__(self, model: Path | bytes, threads: int = 1, provider: Provider = "cpu") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Other engines share the cores, so that an idle thread must sleep. Batches differ in shape: a memory pattern
        # would be kept for each shape, and rarely be used again.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = False  # not slower, and the memory of a large batch is freed
        options.log_severity_level = 4  # errors are raised as exceptions as well
        wanted = _PROVIDERS[provider]
        if wanted[0] not in ort.get_available_providers():
            raise FailedPrecondition(f"this build of ONNX Runtime has no {wanted[0]}")
        source = model if isinstance(model, bytes) else str(model)
        session = ort.InferenceSession(source, options, providers=wanted)
        if session.get_providers()[0] != wanted[0]:
            raise FailedPrecondition(f"{wanted[0]} does not start on this machine")
        self.inputs = tuple(_spec(node) for node in session.get_inputs())
        self.outputs = tuple(_spec(node) for node in session.get_outputs())
        self._session: ort.InferenceSession | None = session

    def infer(self, arrays: Arrays) -> Arrays:
        """Run the network once; see `TensorBackend`.

        Raises:
            InvalidArgument: An array's name, dtype, rank, sizes or content do not fit the network.
        """
        if self._session is None:
            raise EngineCrashed("the engine is closed")
        try:
            results = self._session.run(None, dict(arrays))
        except (ort_errors.InvalidArgument, ValueError) as error:
            raise self._misfit(arrays) from error
        except _FAILURES as error:
            if isinstance(error, MemoryError) or any(sign in str(error) for sign in _OUT_OF_MEMORY):
                raise OutOfMemory("the engine has no memory for this batch") from error
            if any(sign in str(error) for sign in _CRASHED):
                raise EngineCrashed("the engine's device has failed") from error
            if _OPERATOR in str(error):  # it does not take arrays of these sizes
                raise self._misfit(arrays) from error
            raise
        return dict(zip((spec.name for spec in self.outputs), results, strict=True))

    def _misfit(self, arrays: Arrays) -> InvalidArgument:
        given = ", ".join(f"{name} {array.dtype} {list(array.shape)}" for name, array in arrays.items())
        wanted = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in self.inputs)
        problem = f"the arrays must have sizes and values that the network takes: it takes {wanted}, got {cut(given)}"
        return InvalidArgument(problem, field="inputs")

    def close(self) -> None:
        """Free the memory of the network, once the current runs have ended."""
        self._session = None


def _spec(node: ort.NodeArg) -> TensorSpec:
    name = node.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(extent if isinstance(extent, int) else -1 for extent in node.shape)
    return TensorSpec(node.name, np.dtype(_DTYPES.get(name, "object" if name == "string" else name)), shape)
