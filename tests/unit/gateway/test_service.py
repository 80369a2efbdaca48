import hashlib

import grpc
import pytest
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub, add_GatewayServiceServicer_to_server
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media

from gateway.records.rows import VectorStoreRecord
from gateway.service import GatewayService
from servekit.errors import InvalidArgument, NotFound, Unavailable
from servekit.ops.telemetry import Telemetry
from servekit.rpc.client import connect
from servekit.rpc.interceptor import CallInterceptor


@pytest.fixture
async def stub(state, settings):
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_GatewayServiceServicer_to_server(GatewayService(state), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = connect(f"127.0.0.1:{port}", "polyphony.gateway.v1", settings)
    yield GatewayServiceStub(channel)
    await channel.close()
    await server.stop(0)


def said(*parts, role=ChatMessage.ROLE_USER):
    return ChatMessage(role=role, parts=parts)


async def test_the_same_pipeline_answers_over_grpc(stub, orders):
    picture = ContentPart(image=Media(inline=b"a picture"))
    question = ContentPart(audio=Media(inline=b"a recording"))
    request = pb.ChatRequest(messages=[said(picture, question)], seed=3, spoken=pb.SpokenAnswer(mime_type="audio/pcm"))
    events = [event async for event in stub.Chat(request)]
    assert "".join(event.delta for event in events if event.HasField("delta")) == "It is 42."
    assert b"".join(event.audio for event in events if event.HasField("audio")) == b"It is 42. "
    finished = events[-1].finished
    assert [step.name for step in finished.steps] == ["read_text", "transcribe", "generate_text", "synthesize"]
    assert (finished.reason, finished.prompt_tokens, finished.prompt_version) == ("stop", 7, "chat-1")
    (asked,) = orders.requests("GenerateText")
    assert (asked.seed, asked.HasField("temperature")) == (3, False)


async def test_a_medium_may_be_named_by_its_address(stub, orders, shelf):
    shelf.pages["https://example.com/a.png"] = (b"fetched", "image/png")
    picture = ContentPart(image=Media(uri="https://example.com/a.png"))
    [event async for event in stub.Chat(pb.ChatRequest(messages=[said(picture)]))]
    assert orders.requests("ReadText")[-1].image.inline == b"fetched"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ChatRequest(), "messages"),
        (pb.ChatRequest(messages=[said(ContentPart())]), "messages[0].parts[0]"),
        (pb.ChatRequest(messages=[said(ContentPart(image=Media()))]), "messages[0].parts[0].image"),
        (pb.ChatRequest(messages=[said(ContentPart(video=Media(inline=b"a video")))]), "messages[0].parts[0].video"),
        (pb.ChatRequest(messages=[said(ContentPart(text="x"), role=9)]), "messages[0].role"),
        (
            pb.ChatRequest(messages=[said(ContentPart(image=Media(uri="file:///etc/passwd")))]),
            "messages[0].parts[0].image",
        ),
        (
            pb.ChatRequest(
                messages=[said(ContentPart(text="x"))], file_search=pb.FileSearch(vector_store_ids=["vs_none"])
            ),
            "file_search.vector_store_ids",
        ),
        (
            pb.ChatRequest(
                messages=[said(ContentPart(text="x"))], file_search=pb.FileSearch(vector_store_ids=["vs_1"] * 9)
            ),
            "file_search.vector_store_ids",
        ),
        (
            pb.ChatRequest(messages=[said(ContentPart(image=Media(inline=b"not an image")))]),
            "messages[0].parts[0].image",
        ),
    ],
)
async def test_bad_requests_name_their_field(stub, request_, field):
    with pytest.raises((InvalidArgument, NotFound)) as refused:
        [event async for event in stub.Chat(request_)]
    assert refused.value.field == field


async def test_an_unreachable_service_is_unavailable(stub, orders):
    orders.fail["GenerateText"] = Unavailable("gone", retry_after=2)
    with pytest.raises(Unavailable) as refused:
        [event async for event in stub.Chat(pb.ChatRequest(messages=[said(ContentPart(text="Hi"))]))]
    assert refused.value.retry_after == 2


async def test_with_keys_the_tenant_is_the_owner_of_the_key(build, settings, orders):
    keys = settings.home / "keys.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    keys.write_text(f'[[keys]]\nsha256 = "{digest}"\nowner = "alice"\nburst = 1\nrequests_per_minute = 1\n')
    state = build(keys_file=keys)
    await state.records.add_vector_store("bob", VectorStoreRecord("vs_1", "his", 0, {}))
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_GatewayServiceServicer_to_server(GatewayService(state), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    search = pb.FileSearch(vector_store_ids=["vs_1"])
    request = pb.ChatRequest(messages=[said(ContentPart(text="Hi"))], file_search=search)
    own, other = ("authorization", "Bearer secret"), ("x-polyphony-tenant", "bob")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        for metadata, code in (
            ([other], grpc.StatusCode.UNAUTHENTICATED),
            ([own, other], grpc.StatusCode.NOT_FOUND),
            ([own, other], grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                [event async for event in GatewayServiceStub(channel).Chat(request, metadata=metadata)]
            assert refused.value.code() == code
    await server.stop(0)
