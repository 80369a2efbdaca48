"""The Open Inference Protocol: raw and typed tensors, and everything that is wrong with them."""

import numpy as np
import pytest
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from servekit.errors import InvalidArgument, NotFound, Unimplemented
from servekit.models.backend import TensorSpec
from servekit.models.backends.fake import FakeBackend
from servekit.models.catalogue import ModelSpec
from servekit.ops.settings import ProcessSettings
from servekit.ops.telemetry import Telemetry
from servekit.rpc.open_inference import InferenceService
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.stream import StreamScheduler
from servekit.scheduling.tensors import TensorScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository

SPEC = ModelSpec(id="m", task="embed", services=("retrieval",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1)
TYPED = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
NUMPY = {"BOOL": "bool", "FP32": "float32", "FP64": "float64", "FP16": "float16"}


class Echo(FakeBackend):
    """Gives back what it is given."""

    def __init__(self, dtype):
        super().__init__([TensorSpec("x", np.dtype(dtype), (-1, -1))], [TensorSpec("y", np.dtype(dtype), (-1, -1))])

    def infer(self, arrays):
        return {"y": arrays["x"]}


@pytest.fixture
async def service():
    telemetry = Telemetry(ProcessSettings())
    schedulers = {
        kind: TensorScheduler(SPEC, [Echo(NUMPY.get(kind, kind.lower()))], telemetry) for kind in (*TYPED, "FP16")
    }

    class Idle:
        def warm(self): ...

        def close(self): ...

    text = StreamScheduler(SPEC.model_copy(update={"id": "text"}), [Idle()], telemetry, max_queue_cost=1)
    for scheduler in (*schedulers.values(), text):
        await scheduler.start()
    yield InferenceService("test", ModelRepository([LoadedModel(text, schedulers)]))
    for scheduler in (*schedulers.values(), text):
        await scheduler.close()


def infer(kind, shape, raw=None, typed=None, **more):
    request = pb.ModelInferRequest(model_name=kind, **more)
    tensor = request.inputs.add(name="x", datatype=kind, shape=shape)
    if raw is not None:
        request.raw_input_contents.append(raw)
    if typed is not None:
        getattr(tensor.contents, TYPED[kind]).extend(typed)
    return request


def twice(request):
    request.inputs.append(request.inputs[0])
    request.raw_input_contents.append(request.raw_input_contents[0])
    return request


async def test_typed_and_raw_contents_of_every_datatype_mean_the_same(service):
    for kind in TYPED:
        values = np.array([[1, 0, 1]], NUMPY.get(kind, kind.lower()))
        typed = await service.ModelInfer(infer(kind, [1, 3], typed=values[0].tolist()), None)
        raw = await service.ModelInfer(infer(kind, [1, 3], raw=values.tobytes(), id="7"), None)
        assert typed.raw_output_contents[0] == raw.raw_output_contents[0] == values.tobytes()
        assert (raw.id, raw.outputs[0].datatype, list(raw.outputs[0].shape)) == ("7", kind, [1, 3])
    half = np.array([[0.5, 2]], np.float16).tobytes()
    assert (await service.ModelInfer(infer("FP16", [1, 2], raw=half), None)).raw_output_contents[0] == half


@pytest.mark.parametrize(
    ("request_", "error", "field"),
    [
        (infer("FP32", [1, 3], raw=bytes(11)), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [1, 3], typed=[1.0]), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [1, 3]), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [-1, -3], raw=bytes(12)), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [2**40, 2**40], raw=bytes(12)), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [1] * 100, raw=bytes(4)), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [0, 3], raw=b""), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [0, 2**62, 2**62], raw=b""), InvalidArgument, "inputs[0].shape"),
        (infer("FP32", [], raw=bytes(4)), InvalidArgument, "inputs.x"),
        (twice(infer("FP32", [1, 3], raw=bytes(12))), InvalidArgument, "inputs[1].name"),
        (infer("FP32", [3], raw=bytes(12)), InvalidArgument, "inputs.x"),
        (infer("INT8", [1, 1], typed=[300]), InvalidArgument, "inputs[0].contents"),
        (infer("UINT8", [1, 1], typed=[256]), InvalidArgument, "inputs[0].contents"),
        (infer("BYTES", [1, 1], raw=b"1", model_version="1"), NotFound, "model_name"),
        (pb.ModelInferRequest(model_name="FP32"), InvalidArgument, "inputs.x"),
        (pb.ModelInferRequest(model_name="text"), Unimplemented, "model_name"),
        (pb.ModelInferRequest(model_name="gpt-9"), NotFound, "model_name"),
        (pb.ModelInferRequest(model_name="FP32", raw_input_contents=[b"1"]), InvalidArgument, "raw_input_contents"),
        (
            pb.ModelInferRequest(model_name="FP32", inputs=[{"name": "x", "datatype": "BF16", "shape": [1, 1]}]),
            InvalidArgument,
            "inputs[0].datatype",
        ),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_named(service, request_, error, field):
    with pytest.raises(error) as caught:
        await service.ModelInfer(request_, None)
    assert caught.value.field == field


async def test_an_unknown_output_is_refused_before_the_engine_runs(service):
    request = infer("FP32", [1, 1], raw=bytes(4))
    request.outputs.add(name="z")
    with pytest.raises(InvalidArgument) as caught:
        await service.ModelInfer(request, None)
    assert caught.value.field == "outputs.z"


async def test_tritons_own_client_calls_it(serve, scripted, settings):
    async def build(settings, telemetry):
        plain = await scripted.build(settings, telemetry)
        scheduler = TensorScheduler(SPEC, [Echo("float32")], telemetry)
        return ServiceSpec(plain.servicer, plain.services, models=ModelRepository([LoadedModel(scheduler)]))

    server = await serve(settings, build)
    async with InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("m")
        assert [tensor.name for tensor in (await client.get_model_metadata("m")).inputs] == ["x"]
        assert [model.name for model in (await client.get_model_repository_index()).models] == ["m"]
        values = np.arange(6, dtype=np.float32).reshape(2, 3)
        tensor = InferInput("x", [2, 3], "FP32")
        tensor.set_data_from_numpy(values)
        # parameters travel as a map of messages
        outputs = [InferRequestedOutput("y")]
        answer = await client.infer("m", [tensor], outputs=outputs, request_id="r", priority=1, timeout=1_000_000)
        np.testing.assert_array_equal(answer.as_numpy("y"), values)
        with pytest.raises(InferenceServerException, match="UNIMPLEMENTED"):
            await client.get_model_config("m")
