"""A fleet whose every hop is mutual TLS: it answers as ever, and nobody else is let in."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from polyphony.gateway.v1 import gateway_pb2
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.vision.v1 import vision_pb2
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub

from fleet.runner import state
from fleet.temporary import TemporaryFleet, new_home, running
from tests.integration.conftest import picture, recording

PROCESSES = ("gateway", "vision", "speech", "generation", "retrieval")
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[TemporaryFleet]:
    """Each process has a certificate of its own, with its name and where it is on this machine."""
    with new_home() as home, running(home, "--profile", "fake", **certificates(home, authority)) as fleet:
        yield fleet


def certificates(home: Path, authority: trustme.CA) -> dict[str, str]:
    """Write the authority and a certificate and key for each process; the settings that name them."""
    settings = {}
    settings["POLYPHONY_TLS_CA_FILE"] = str(home / "authority.pem")
    authority.cert_pem.write_to_path(str(home / "authority.pem"))
    for name in PROCESSES:
        issued = authority.issue_cert(f"polyphony-{name}", "127.0.0.1")
        for kind, blobs in (("certificate", issued.cert_chain_pems), ("key", [issued.private_key_pem])):
            path = home / f"{name}-{kind}.pem"
            path.write_bytes(b"".join(blob.bytes() for blob in blobs))
            settings[f"POLYPHONY_{name}_TLS_{kind}_FILE".upper()] = str(path)
    return settings


@pytest.fixture(scope="module")
def status(secure: TemporaryFleet) -> dict[str, Any]:
    return secure.status()


def credentials(authority: trustme.CA, issuer: trustme.CA | None) -> grpc.ChannelCredentials:
    """Of a client that trusts the fleet, and shows what `issuer` gave it."""
    if issuer is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    mine = issuer.issue_cert("a-client")
    chain = b"".join(blob.bytes() for blob in mine.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), mine.private_key_pem.bytes(), chain)


def test_http_requests_succeed_over_mutual_tls(status):
    assert all(row["ready"] for row in status.values())
    image = f"data:image/png;base64,{base64.b64encode(picture()).decode()}"
    audio = {"data": base64.b64encode(recording()).decode(), "format": "wav"}
    content = [{"type": "image_url", "image_url": {"url": image}}, {"type": "input_audio", "input_audio": audio}]
    with httpx.Client(base_url=status["gateway"]["address"], timeout=60) as http:
        assert http.get("/readyz").json()["status"] == "ready"
        answer = http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": content}]}).json()
        assert answer["polyphony"]["degraded"] == []
        assert [step["name"] for step in answer["polyphony"]["steps"]] == ["read_text", "transcribe", "generate_text"]
        assert len(http.post("/v1/embeddings", json={"input": "a"}).json()["data"]) == 1
    metrics = httpx.get(f"http://{status['vision']['metrics']}/metrics").text
    assert "polyphony_tls_certificate_expiration_timestamp_seconds " in metrics


def test_a_client_with_a_signed_certificate_is_served(status, authority):
    part = ContentPart(text="Why?")
    message = ChatMessage(role=ChatMessage.ROLE_USER, parts=[part])
    with grpc.secure_channel(status["gateway"]["grpc"], credentials(authority, authority)) as channel:
        events = list(GatewayServiceStub(channel).Chat(gateway_pb2.ChatRequest(messages=[message]), timeout=30))
    assert events[-1].HasField("finished")


@pytest.mark.parametrize("process", PROCESSES)
def test_clients_without_a_signed_certificate_are_rejected(status, authority, process):
    address = status[process]["grpc"]
    channels = (
        grpc.insecure_channel(address),
        grpc.secure_channel(address, credentials(authority, None)),
        grpc.secure_channel(address, credentials(authority, trustme.CA())),
    )
    for channel in channels:
        with channel, pytest.raises(grpc.RpcError) as refused:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert refused.value.code() is UNAVAILABLE


def test_only_health_is_served_without_tls(secure):
    services = [process for process in state.read(secure.home / "run").processes if process.protocol == "grpc"]
    assert {process.name for process in services} == set(PROCESSES) - {"gateway"}
    for process in services:
        assert f"{process.host}:{process.port}" != process.grpc
        with grpc.insecure_channel(f"{process.host}:{process.port}") as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.RpcError) as refused:
                VisionServiceStub(channel).ReadText(vision_pb2.ReadTextRequest(), timeout=10)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
