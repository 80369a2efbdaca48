"""gRPC `Chat` with media by reference: the content address of a file that the tenant has uploaded."""

import hashlib

import grpc
import pytest
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media

from tests.integration.conftest import picture, recording

MEDIA = {"image": ("read_text", picture(91)), "audio": ("transcribe", recording(1.5))}


@pytest.fixture(scope="module")
def stub(fleet):
    with grpc.insecure_channel(fleet.address("gateway", "grpc")) as channel:
        yield GatewayServiceStub(channel)


def ask(stub, kind, reference, tenant="default"):
    part = ContentPart(**{kind: Media(reference=reference)})
    request = pb.ChatRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, parts=[part])])
    return list(stub.Chat(request, timeout=30, metadata=(("x-polyphony-tenant", tenant),)))


@pytest.fixture(scope="module", params=MEDIA)
def uploaded(request, http):
    """The kind of a medium, its task, and the reference of its file."""
    task, data = MEDIA[request.param]
    assert http.post("/v1/files", files={"file": ("a", data)}).status_code == 200
    return request.param, task, f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_reference_to_an_uploaded_file_is_read(stub, uploaded):
    kind, task, reference = uploaded
    *_, last = ask(stub, kind, reference)
    assert [step.name for step in last.finished.steps] == [task, "generate_text"]
    assert not last.finished.degraded


def test_the_reference_of_another_tenant_is_not_found(stub, uploaded):
    kind, _, reference = uploaded
    with pytest.raises(grpc.RpcError) as refused:
        ask(stub, kind, reference, tenant="other")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert f"messages[0].parts[0].{kind}" in str(dict(refused.value.trailing_metadata()))


@pytest.mark.parametrize("reference", ["file-1", "sha256:" + "A" * 64, "sha256:" + "0" * 63])
def test_a_malformed_reference_is_refused(stub, reference):
    with pytest.raises(grpc.RpcError) as refused:
        ask(stub, "image", reference)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_reference_beyond_the_gateways_limit_is_refused(stub, http):
    data = bytes((4 << 20) + 1)  # the limit of the fleet's gateway, which is below that of the service
    http.post("/v1/files", files={"file": ("a", data)})
    with pytest.raises(grpc.RpcError, match="must have at most 4194304 bytes"):
        ask(stub, "image", f"sha256:{hashlib.sha256(data).hexdigest()}")


def test_a_recording_that_is_too_large_for_a_message_to_a_service_goes_by_reference(stub):
    data = recording(150)
    assert len(data) > 4 << 20
    part = ContentPart(audio=Media(mime_type="audio/wav", inline=data))
    *_, last = stub.Chat(pb.ChatRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, parts=[part])]), timeout=60)
    assert not last.finished.degraded
