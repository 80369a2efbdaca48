"""The generation service over real gRPC, on the fake generator."""

import asyncio
import json
import time

import pytest
from polyphony.generation.v1.generation_pb2 import (
    GenerateTextRequest,
    TextFinished,
)
from polyphony.generation.v1.generation_pb2_grpc import GenerationServiceStub
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.type.v1.text_format_pb2 import JsonObject, TextFormat

from servekit.errors import InvalidArgument, NotFound, Overloaded, ServeError, TooLarge, Unavailable
from servekit.models import catalogue
from servekit.rpc.server import ServiceSpec
from servekit.scheduling.stream import StreamScheduler
from servekit.tasks.loaded import LoadedModel
from servekit.tasks.repository import ModelRepository
from services.generation import service
from services.generation.generate_text.models.fake import FakeChatModel
from services.generation.settings import GenerationSettings

NAME = "polyphony.generation.v1.GenerationService"


def ask(*texts, max_part_tokens=0, **more):
    parts = [ContentPart(text=text, max_tokens=max_part_tokens) for text in texts]
    return GenerateTextRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, parts=parts)], **more)


def of(slots=2, latency=0.0, fail="", **more):
    """A `build` with a fake of this kind."""

    async def build(settings, telemetry):
        options = {"latency_seconds": latency, "fail": fail}
        spec = catalogue.model("fake-generator").model_copy(update={"options": options})
        model = FakeChatModel(spec, settings.max_prompt_bytes)
        scheduler = StreamScheduler(spec, [model] * slots, telemetry, max_queue_cost=settings.max_queue_tokens)
        models = ModelRepository([LoadedModel(scheduler)])
        return ServiceSpec(
            servicer=service.GenerationService(models, settings),
            services=[service.pb.DESCRIPTOR.services_by_name["GenerationService"]],
            models=models,
        )

    return build


@pytest.fixture
def settings(tmp_path):
    return GenerationSettings(profile="fake", home=tmp_path, port=0, metrics_port=0, drain_timeout_seconds=2.0)


@pytest.fixture
async def stub(serve, settings, dial):
    return GenerationServiceStub(dial(await serve(settings, service.build), NAME))


async def text_of(call):
    return "".join([event.delta async for event in call])


async def test_a_text_starts_grows_and_finishes(stub):
    events = [event async for event in stub.GenerateText(ask("tell me ", "more"))]
    assert [event.WhichOneof("event") for event in events] == ["started", "delta", "delta", "delta", "finished"]
    assert (events[0].started.model, list(events[0].started.truncated_parts)) == ("fake-generator", [])
    assert "".join(event.delta for event in events) == "tell me more"
    finished = events[-1].finished
    assert finished.reason == TextFinished.REASON_STOP
    assert (finished.usage.prompt_tokens, finished.usage.completion_tokens) == (4, 3)


async def test_cut_parts_are_named(stub):
    events = [event async for event in stub.GenerateText(ask("a b c d", " x y", max_part_tokens=2))]
    assert list(events[0].started.truncated_parts) == [0]
    assert "".join(event.delta for event in events) == "a b x y"


async def test_limits_and_stops_end_a_text(stub):
    events = [event async for event in stub.GenerateText(ask("one two three", max_tokens=2))]
    assert events[-1].finished.reason == TextFinished.REASON_LENGTH
    assert "".join(event.delta for event in events) == "one two"
    assert await text_of(stub.GenerateText(ask("one two three", stop=["two"]))) == "one "


async def test_formats(stub):
    any_object = TextFormat(json_object=JsonObject())
    assert json.loads(await text_of(stub.GenerateText(ask("x", format=any_object)))) == {}
    wanted = {"type": "object", "properties": {"city": {"type": "string"}, "kind": {"enum": ["a", "b"]}}}
    form = TextFormat(json_schema=json.dumps(wanted))
    assert json.loads(await text_of(stub.GenerateText(ask("x", format=form)))) == {"city": "", "kind": "a"}


async def test_a_long_prompt_reports_progress(stub):
    events = [event async for event in stub.GenerateText(ask("w " * 2000, max_tokens=1))]
    progress = [event.progress for event in events if event.HasField("progress")]
    assert [entry.processed_tokens for entry in progress] == [512, 1024, 1536]
    assert {entry.total_tokens for entry in progress} == {2002}


@pytest.mark.parametrize(
    ("bad", "error", "field"),
    [
        (GenerateTextRequest(), InvalidArgument, "messages"),
        (GenerateTextRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER)]), InvalidArgument, "messages[0].parts"),
        (
            GenerateTextRequest(messages=[ChatMessage(parts=[ContentPart(text="a")])]),
            InvalidArgument,
            "messages[0].role",
        ),
        (
            GenerateTextRequest(
                messages=[
                    ChatMessage(
                        role=ChatMessage.ROLE_USER,
                        parts=[ContentPart(text="a"), ContentPart(image=Media(inline=b"a picture"))],
                    )
                ]
            ),
            InvalidArgument,
            "messages[0].parts[1].image",
        ),
        (ask("a", model="gpt-9"), NotFound, "model"),
        (ask("a", temperature=float("nan")), InvalidArgument, "temperature"),
        (ask("a" * 1_000_000), TooLarge, "messages"),
        (ask("a " * 5000), TooLarge, "messages"),
        (ask("a", format=TextFormat(json_schema="{")), InvalidArgument, "format.json_schema"),
    ],
)
async def test_bad_input_is_refused_at_once_by_name(stub, bad, error, field):
    began = time.monotonic()
    with pytest.raises(ServeError) as refused:
        await text_of(stub.GenerateText(bad))
    assert (type(refused.value), refused.value.field) == (error, field)
    assert time.monotonic() - began < 5


async def test_an_unexpected_engine_failure_is_an_internal_error(serve, settings, dial):
    stub = GenerationServiceStub(dial(await serve(settings, of(fail="INTERNAL")), NAME))
    with pytest.raises(ServeError) as refused:
        await text_of(stub.GenerateText(ask("a")))
    assert not isinstance(refused.value, InvalidArgument | Unavailable)


async def test_a_caller_that_leaves_frees_its_slot(serve, settings, dial):
    stub = GenerationServiceStub(dial(await serve(settings, of(slots=1, latency=0.2)), NAME))
    call = stub.GenerateText(ask("w " * 100))
    async for event in call:
        if event.delta:
            break
    await call.aclose()
    began = time.monotonic()
    assert await text_of(stub.GenerateText(ask("a"))) == "a"
    assert time.monotonic() - began < 8  # the whole of the first takes twenty


async def test_a_rejected_request_is_not_tokenised(serve, settings, dial, monkeypatch):
    settings = settings.model_copy(update={"max_queue_tokens": 10})
    stub = GenerationServiceStub(dial(await serve(settings, of(slots=1, latency=0.2)), NAME))
    tokenised = []
    prepare = FakeChatModel.prepare
    monkeypatch.setattr(FakeChatModel, "prepare", lambda self, *args: (tokenised.append(args), prepare(self, *args))[1])
    calls = [asyncio.create_task(text_of(stub.GenerateText(ask(f"w{n} x y")))) for n in range(6)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    rejected = [result for result in results if isinstance(result, Overloaded)]
    assert rejected
    assert len(tokenised) == len(results) - len(rejected)


async def test_slots_run_at_once_and_a_full_queue_refuses(serve, settings, dial):
    settings = settings.model_copy(update={"max_queue_tokens": 10})
    stub = GenerationServiceStub(dial(await serve(settings, of(slots=2, latency=0.2)), NAME))
    running = [stub.GenerateText(ask(f"w{n} x y")) for n in range(2)]
    for call in running:
        assert (await anext(call)).HasField("started")
    calls = [asyncio.create_task(text_of(stub.GenerateText(ask(f"w{n} x y")))) for n in range(4)]
    refused = [one for one in await asyncio.gather(*calls, return_exceptions=True) if isinstance(one, Overloaded)]
    assert refused
    assert all(error.retry_after for error in refused)
    assert all([await text_of(call) for call in running])
