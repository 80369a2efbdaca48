"""Every exposed network of the fleet, called over the Open Inference Protocol with tensors that do not fit it."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub
from tritonclient.utils import triton_to_np_dtype

NETWORKS = {
    "vision": {"pp-ocrv6-small-det", "pp-ocrv6-small-cls", "pp-ocrv6-small-rec"},
    "speech": {"resemblyzer"},
    "retrieval": {"all-minilm-l6-v2"},
}


def request(model: str, tensors: dict[str, tuple[str, list[int], bytes]]) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    for name, (datatype, shape, raw) in tensors.items():
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(raw)
    return message


def fitting(inputs, size: int, value: float = 0) -> dict[str, tuple[str, list[int], bytes]]:
    """Inputs of the declared ranks, with every free size the same."""
    tensors = {}
    for tensor in inputs:
        shape = [1, *(extent if extent > 0 else size for extent in tensor.shape[1:])]
        dtype = triton_to_np_dtype(tensor.datatype)
        tensors[tensor.name] = (tensor.datatype, shape, np.full(shape, value, dtype).tobytes())
    return tensors


def misfits(model: str, inputs) -> Iterator[tuple[str, pb.ModelInferRequest]]:
    good = fitting(inputs, 32)
    first, (datatype, shape, raw) = next(iter(good.items()))

    def with_first(datatype, shape, raw):
        return request(model, good | {first: (datatype, shape, raw)})

    yield "rank 2 of 3", with_first(datatype, [3, 3], raw[: 9 * (len(raw) // int(np.prod(shape)))])
    yield "rank 0", with_first(datatype, [], raw[: len(raw) // int(np.prod(shape))])
    yield "rank + 1", with_first(datatype, [1, *shape], raw)
    yield "rank 40", with_first(datatype, [1] * 40, raw)
    yield "a zero size", with_first(datatype, [0, *shape[1:]], b"")
    yield "zero and huge sizes", with_first(datatype, [0, 2**62, 2**62], b"")
    yield "a negative size", with_first(datatype, [-1, *shape[1:]], raw)
    yield "huge sizes", with_first(datatype, [2**31, 2**31, 2**31, 2**31], raw)
    yield "one byte less", with_first(datatype, shape, raw[:-1])
    yield "one byte more", with_first(datatype, shape, raw + b"0")
    yield "no bytes", with_first(datatype, shape, b"")
    yield "an unknown datatype", with_first("BF16", shape, raw)
    yield "another datatype", with_first("INT16", shape, bytes(2 * int(np.prod(shape))))
    yield "no inputs", pb.ModelInferRequest(model_name=model)
    yield "an unknown input", request(model, good | {"z\0": (datatype, shape, raw)})
    twice = request(model, good)
    twice.inputs.append(twice.inputs[0])
    twice.raw_input_contents.append(raw)
    yield "an input twice", twice


@pytest.mark.parametrize("process", NETWORKS)
def test_tensors_that_do_not_fit_are_invalid_arguments(fleet, process):
    answers = {}
    with grpc.insecure_channel(fleet.address(process, "grpc")) as channel:
        stub = GRPCInferenceServiceStub(channel)
        found = set()
        for model in stub.RepositoryIndex(pb.RepositoryIndexRequest()).models:
            inputs = stub.ModelMetadata(pb.ModelMetadataRequest(name=model.name)).inputs
            if not inputs:
                continue
            found.add(model.name)
            for kind, message in misfits(model.name, inputs):
                with pytest.raises(grpc.RpcError) as raised:
                    stub.ModelInfer(message, timeout=60)
                answers[model.name, kind] = raised.value.code(), raised.value.details()
            for size in (1, 3, 33, 64):  # it takes some of them
                for value in (0, float("nan")) if inputs[0].datatype == "FP32" else (0, 2**40, -5):
                    try:
                        stub.ModelInfer(request(model.name, fitting(inputs, size, value)), timeout=60)
                    except grpc.RpcError as error:
                        answers[model.name, size, value] = error.code(), error.details()
    assert found == NETWORKS[process]
    assert {key: answer for key, answer in answers.items() if answer[0] != grpc.StatusCode.INVALID_ARGUMENT} == {}


def test_an_answer_says_what_the_network_takes(fleet):
    with grpc.insecure_channel(fleet.address("vision", "grpc")) as channel:
        shape = [1, 3, 3, 3]
        tensors = {"x": ("FP32", shape, bytes(4 * 27))}
        with pytest.raises(grpc.RpcError, match=r"float32 \[-1, 3, -1, -1\], got x float32 \[1, 3, 3, 3\]"):
            GRPCInferenceServiceStub(channel).ModelInfer(request("pp-ocrv6-small-det", tensors), timeout=60)


def test_an_input_of_too_many_pixels_is_refused_before_it_takes_memory(fleet):
    with grpc.insecure_channel(fleet.address("vision", "grpc")) as channel:
        shape = [1, 3, 48, 20_000]
        tensors = {"x": ("FP32", shape, bytes(4 * int(np.prod(shape))))}
        with pytest.raises(grpc.RpcError, match="must have at most") as raised:
            GRPCInferenceServiceStub(channel).ModelInfer(request("pp-ocrv6-small-rec", tensors), timeout=60)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
