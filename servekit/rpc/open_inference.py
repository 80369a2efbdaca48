"""The Open Inference Protocol v2 over gRPC, so that `tritonclient.grpc` can call any service.

Every model answers for its readiness and metadata; the tensor models infer.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from servekit.echo import cut
from servekit.errors import InvalidArgument, NotFound, Unimplemented
from servekit.models.backend import Arrays, TensorSpec
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.repository import ModelRepository

VERSION = "1"
MAX_AXES = 32
_TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}

_DTYPES = {name: np.dtype(triton_to_np_dtype(name)) for name in (*_TYPED_CONTENTS, "FP16")}


class InferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The protocol over the schedulers of one process.

    Args:
        process: Which process this is.
        models: The process's models.
    """

    def __init__(self, process: str, models: ModelRepository) -> None:
        self._process = process
        self._models = models

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return pb.ServerReadyResponse(ready=self._models.ready)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        return pb.ServerMetadataResponse(name=f"polyphony-{self._process}", version=VERSION)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        readiness = self._models.readiness()
        if request.name not in readiness:
            raise NotFound(f"no model {cut(request.name)!r}; available: {', '.join(readiness)}", field="model_name")
        return pb.ModelReadyResponse(ready=readiness[request.name])

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        index = pb.RepositoryIndexResponse()
        for name, ready in self._models.readiness().items():
            index.models.add(name=name, version=VERSION, state="READY" if ready else "UNAVAILABLE")
        return index

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        async with self._models.acquire(request.name) as scheduler:
            metadata = pb.ModelMetadataResponse(name=request.name, versions=[VERSION], platform=scheduler.spec.runtime)
            if isinstance(scheduler, TensorScheduler):
                metadata.inputs.extend(_metadata(spec) for spec in scheduler.backend.inputs)
                metadata.outputs.extend(_metadata(spec) for spec in scheduler.backend.outputs)
            return metadata

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: ARG002
        async with self._models.acquire(request.model_name) as scheduler:
            if not isinstance(scheduler, TensorScheduler):
                problem = f"{request.model_name} is not a tensor model: call the RPC of its task"
                raise Unimplemented(problem, field="model_name")
            names = [spec.name for spec in scheduler.backend.outputs]
            wanted = [output.name for output in request.outputs] or names
            for name in wanted:
                if name not in names:
                    raise InvalidArgument(
                        f"{cut(request.model_name)} has no output {cut(name)!r}", field=f"outputs.{name}"
                    )
            outputs = await scheduler.infer(_arrays(request))
        response = pb.ModelInferResponse(model_name=request.model_name, model_version=VERSION, id=request.id)
        for name in wanted:
            array = outputs[name]
            response.outputs.add(name=name, datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
            response.raw_output_contents.append(np.ascontiguousarray(array).tobytes())
        return response


def _metadata(spec: TensorSpec) -> Any:
    datatype = np_to_triton_dtype(spec.dtype)
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=datatype, shape=spec.shape)


def _arrays(request: Any) -> Arrays:
    """The request's inputs, from raw bytes or typed contents."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        problem = f"raw_input_contents must have {len(request.inputs)} entries, one for each input, got {len(raw)}"
        raise InvalidArgument(problem, field="raw_input_contents")
    arrays: dict[str, NDArray[np.generic]] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise InvalidArgument(f"input {cut(tensor.name)!r} must be given once", field=f"inputs[{index}].name")
        arrays[tensor.name] = _array(tensor, raw[index] if raw else None, f"inputs[{index}]")
    return arrays


def _array(tensor: Any, raw: bytes | None, field: str) -> NDArray[np.generic]:
    if tensor.datatype not in _TYPED_CONTENTS and not (tensor.datatype == "FP16" and raw is not None):
        raise InvalidArgument(f"the datatype {cut(tensor.datatype)!r} is not supported", field=f"{field}.datatype")
    if len(tensor.shape) > MAX_AXES or min(tensor.shape, default=1) < 1:
        problem = f"a shape must have at most {MAX_AXES} sizes, each at least 1, got {list(tensor.shape[:MAX_AXES])}"
        raise InvalidArgument(problem, field=f"{field}.shape")
    dtype = _DTYPES[tensor.datatype]
    size = math.prod(tensor.shape)
    if raw is not None:
        if len(raw) != size * dtype.itemsize:
            problem = f"shape {list(tensor.shape)} takes {size * dtype.itemsize} bytes, got {len(raw)}"
            raise InvalidArgument(problem, field=f"{field}.shape")
        return np.frombuffer(raw, dtype).reshape(tensor.shape)
    values = getattr(tensor.contents, _TYPED_CONTENTS[tensor.datatype])
    if len(values) != size:
        raise InvalidArgument(
            f"shape {list(tensor.shape)} takes {size} values, got {len(values)}", field=f"{field}.shape"
        )
    try:
        return np.array(values, dtype).reshape(tensor.shape)
    except OverflowError as error:
        raise InvalidArgument(f"every value must be a {tensor.datatype}", field=f"{field}.contents") from error
