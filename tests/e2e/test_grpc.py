"""Internal systems: the composed Chat, the Open Inference Protocol and reflection, against real models."""

import io

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image
from polyphony.gateway.v1.gateway_pb2 import ChatRequest
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub
from tokenizers import Tokenizer
from tritonclient.grpc import InferenceServerClient, InferInput

from evaluation.metrics import character_error_rate
from tests.e2e.conftest import ON_THE_PAGE

SERVICES = {
    "vision": "polyphony.vision.v1.VisionService",
    "speech": "polyphony.speech.v1.TranscriptionService",
    "generation": "polyphony.generation.v1.GenerationService",
    "retrieval": "polyphony.retrieval.v1.RetrievalService",
    "gateway": "polyphony.gateway.v1.GatewayService",
}


def test_one_chat_composes_an_image_and_a_recording(fleet, page, question):
    parts = [
        ContentPart(image=Media(inline=page, mime_type="image/png")),
        ContentPart(audio=Media(inline=question, mime_type="audio/wav")),
    ]
    request = ChatRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, parts=parts)], max_tokens=60, temperature=0)
    with grpc.insecure_channel(fleet.address("gateway", "grpc")) as channel:
        events = list(GatewayServiceStub(channel).Chat(request, timeout=120))
    finished = events[-1].finished
    assert not finished.degraded, finished
    assert {step.name for step in finished.steps} >= {"read_text", "transcribe", "generate_text"}
    assert finished.reason in ("stop", "length")
    assert finished.prompt_tokens > 0
    answer = "".join(event.delta for event in events).lower()
    assert any(word in answer for word in ON_THE_PAGE), answer


def test_a_strip_of_a_page_is_read_like_the_whole_page(fleet, page):
    with Image.open(io.BytesIO(page)) as whole:
        strip = io.BytesIO()
        whole.crop((0, 0, whole.width, whole.height // 3)).save(strip, "PNG")
    with grpc.insecure_channel(fleet.address("vision", "grpc")) as channel:
        vision = VisionServiceStub(channel)
        of_page, of_strip = (
            vision.ReadText(ReadTextRequest(image=Media(inline=image, mime_type="image/png")), timeout=60).lines
            for image in (page, strip.getvalue())
        )
    page_text, strip_text = ("\n".join(line.text for line in lines) for lines in (of_page[:2], of_strip))
    assert character_error_rate([page_text], [strip_text]) < 0.1


@pytest.mark.parametrize("process", SERVICES)
def test_every_process_reflects_and_is_healthy(fleet, process):
    with grpc.insecure_channel(fleet.address(process, "grpc")) as channel:
        names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        assert {SERVICES[process], "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(service=SERVICES[process]), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_tritonclient_infers_with_the_sentence_encoder(fleet, client):
    text = "A cat sat on the mat."
    tokenizer = Tokenizer.from_file(str(fleet.home / "models" / "all-minilm-l6-v2" / "tokenizer.json"))
    tokenizer.no_padding()
    encoding = tokenizer.encode(text)
    inputs = []
    for name, values in (("input_ids", encoding.ids), ("attention_mask", encoding.attention_mask)):
        inputs.append(InferInput(name, [1, len(values)], "INT64"))
        inputs[-1].set_data_from_numpy(np.array([values], np.int64))
    with InferenceServerClient(fleet.address("retrieval", "grpc")) as triton:
        assert triton.is_server_ready()
        names = [model.name for model in triton.get_model_repository_index().models]
        (network,) = (name for name in names if triton.get_model_metadata(name).inputs)
        row = triton.infer(network, inputs).as_numpy("embedding")[0]
    same = client.embeddings.create(model="all-minilm-l6-v2", input=text).data[0].embedding
    assert np.allclose(row, same, atol=1e-5)


def test_tritonclient_infers_with_the_text_detector(fleet):
    with InferenceServerClient(fleet.address("vision", "grpc")) as triton:
        network = "pp-ocrv6-small-det"
        assert triton.is_model_ready(network)
        assert triton.is_model_ready("pp-ocrv6-small")
        metadata = triton.get_model_metadata(network)
        image = InferInput(metadata.inputs[0].name, [1, 3, 64, 96], "FP32")
        image.set_data_from_numpy(np.zeros((1, 3, 64, 96), np.float32))
        (output,) = metadata.outputs
        assert triton.infer(network, [image]).as_numpy(output.name).shape == (1, 1, 64, 96)
