"""No operation runs a model that the caller's API key may not use, whether the request names it or not."""

import base64
import hashlib
import json
from dataclasses import dataclass, field

import grpc
import httpx
import pytest
from polyphony.gateway.v1 import gateway_pb2 as pb
from polyphony.gateway.v1.gateway_pb2_grpc import GatewayServiceStub, add_GatewayServiceServicer_to_server
from polyphony.generation.v1 import generation_pb2
from polyphony.retrieval.v1 import retrieval_pb2
from polyphony.type.v1.chat_pb2 import ChatMessage, ContentPart
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1 import vision_pb2
from starlette.testclient import TestClient, WebSocketDenialResponse

from gateway.app import OPERATIONS, SOCKETS, build_app
from gateway.auth import Caller
from gateway.models import ModelDirectory
from gateway.service import GatewayService
from servekit.errors import InvalidArgument, NotFound
from servekit.models.catalogue import profile_models
from servekit.ops.telemetry import Telemetry
from servekit.rpc.interceptor import CallInterceptor

from .fakes.speech import SERVICES as SPEECH

MODELS = profile_models("fake", None)
# The tasks whose models an RPC runs. A new RPC needs its row.
RPCS = {
    "ReadText": {"read_text"},
    "GenerateText": {"generate_text"},
    "Embed": {"embed"},
    "CreateCollection": {"embed"},
    "Upsert": {"embed"},
    "ReplacePoints": {"embed"},
    "Search": {"embed"},
    "DescribeCollection": set(),
    "ListCollections": set(),
    "DeleteCollection": set(),
    "Delete": set(),
    "Transcribe": {"transcribe"},
    "StreamingTranscribe": {"transcribe"},
    "Synthesize": {"synthesize"},
    "ListVoices": set(),
    "CreateVoice": {"synthesize", "transcribe"},
    "DeleteVoice": set(),
    "Diarize": {"diarize"},
    "Align": {"align", "transcribe"},
    "Enhance": {"enhance"},
    "Assess": {"transcribe"},
    "AnalyzeEmotion": {"transcribe", "classify_sentiment"},
    "TrainAnomalyDetector": {"detect_anomaly"},
    "ListAnomalyDetectors": set(),
    "DeleteAnomalyDetector": set(),
    "DetectAnomaly": {"detect_anomaly"},
    "ClassifySound": {"detect_anomaly"},
}
# Where the service chooses among several models, an empty name stands for its choice if the key allows them all.
CHOSEN_BY_SERVICE = {"Align", "Enhance", "CreateVoice", "AnalyzeEmotion", "ListVoices"}

FILE = {"file": ("a.wav", b"sound", "audio/wav")}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(b"x").decode()}}
RECORDING = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"x").decode(), "format": "wav"}}
SEARCH = {"type": "file_search", "vector_store_ids": ["{store}"]}


def chat(*parts, **more):
    content = [{"type": "text", "text": "Hi"}, *parts]
    return {"json": {"messages": [{"role": "user", "content": content}], **more}}


@dataclass(frozen=True)
class Case:
    """A request of an operation, and the tasks whose models it runs."""

    operation: str
    tasks: tuple[str, ...]
    request: dict = field(default_factory=dict)


CASES = {
    "chat": Case("createChatCompletion", ("generate_text",), chat()),
    "chat with an image": Case("createChatCompletion", ("generate_text", "read_text"), chat(PICTURE)),
    "chat with a recording": Case("createChatCompletion", ("generate_text", "transcribe"), chat(RECORDING)),
    "chat with a search": Case("createChatCompletion", ("generate_text", "embed"), chat(tools=[SEARCH])),
    "spoken chat": Case(
        "createChatCompletion", ("generate_text", "synthesize"), chat(modalities=["text", "audio"], audio={})
    ),
    "transcribe": Case("createTranscription", ("transcribe",), {"files": FILE}),
    "transcribe by speaker": Case(
        "createTranscription",
        ("transcribe", "diarize"),
        {"files": FILE, "data": {"response_format": "diarized_json"}},
    ),
    "translate": Case("createTranslation", ("transcribe",), {"files": FILE}),
    "speak": Case("createSpeech", ("synthesize",), {"json": {"input": "Hi"}}),
    "create a voice": Case(
        "createVoice",
        ("synthesize", "transcribe"),
        {
            "files": {"audio_sample": FILE["file"]},
            "data": {"name": "mine", "consent": "true", "consent_statement": "yes"},
        },
    ),
    "diarize": Case("createDiarization", ("diarize",), {"files": FILE}),
    "assess": Case("createAssessment", ("transcribe",), {"files": FILE, "data": {"reference_text": "a"}}),
    "emotion": Case("createEmotionAnalysis", ("transcribe", "classify_sentiment"), {"files": FILE}),
    "enhance": Case("createEnhancement", ("enhance",), {"files": FILE}),
    "train": Case("createSoundModel", ("detect_anomaly",), {"files": FILE, "data": {"name": "pump"}}),
    "score": Case("detectAnomaly", ("detect_anomaly",), {"files": FILE}),
    "classify": Case("classifySound", ("detect_anomaly",), {"files": FILE}),
    "read": Case("readText", ("read_text",), {"content": b"a picture"}),
    "embed": Case("createEmbedding", ("embed",), {"json": {"input": "x"}}),
    "create a store": Case("createVectorStore", ("embed",), {"json": {"name": "s"}}),
    "attach": Case("createVectorStoreFile", ("embed",), {"json": {"file_id": "{file}"}}),
    "search": Case("searchVectorStore", ("embed",), {"json": {"query": "x"}}),
}
ELSEWHERE = {"createAlignment"}  # one of two tasks is enough: a test of its own
WITHOUT_A_MODEL = {
    *("listVoices", "deleteVoice", "listSoundModels", "deleteSoundModel"),
    *("createFile", "listFiles", "retrieveFile", "downloadFile", "deleteFile"),
    *("listVectorStores", "getVectorStore", "deleteVectorStore"),
    *("listVectorStoreFiles", "getVectorStoreFile", "deleteVectorStoreFile"),
    *("listModels", "retrieveModel", "getLivePage", "getLiveness", "getReadiness", "getMetrics"),
    *("getDocs", "getDocsScript", "getOpenApi"),
}
PATHS = {row.id: (row.method, row.path.replace("{name}", "pump")) for row in OPERATIONS}
TASKS = sorted({model.task for model in MODELS})


def key_file(folder):
    """A key for every task, which may use all models but those of that task, and one for all; all of one tenant."""
    rows = []
    for task in ("none", *TASKS):
        models = json.dumps([model.id for model in MODELS if model.task != task])
        digest = hashlib.sha256(f"without {task}".encode()).hexdigest()
        rows.append(f'[[keys]]\nsha256 = "{digest}"\nowner = "anna"\nmodels = {models}\n')
    path = folder / "keys.toml"
    path.write_text("\n".join(rows))
    return path


def without(task):
    return {"authorization": f"Bearer without {task}"}


@pytest.fixture
def locked(build, tmp_path):
    return build(keys_file=key_file(tmp_path))


@pytest.fixture
async def client(locked):
    transport = httpx.ASGITransport(build_app(locked))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def send(client, orders):
    """Sends a request; the vector store and the file that it names exist."""
    files = {"file": ("a.txt", b"A text.", "text/plain")}
    file = (await client.post("/v1/files", files=files, headers=without("none"))).json()["id"]
    store = (await client.post("/v1/vector_stores", json={"name": "s"}, headers=without("none"))).json()["id"]
    orders.seen.clear()

    async def send(case, headers):
        method, path = PATHS[case.operation]
        request = dict(case.request)
        if "json" in request:
            request["json"] = json.loads(json.dumps(request["json"]).replace("{store}", store).replace("{file}", file))
        return await client.request(method, path.replace("{vector_store_id}", store), headers=headers, **request)

    return send


def test_every_operation_and_every_rpc_has_its_row():
    rows = {case.operation for case in CASES.values()} | ELSEWHERE | WITHOUT_A_MODEL
    assert {row.id for row in OPERATIONS} == rows
    assert [row.path for row in SOCKETS] == ["/v1/realtime"]
    services = list(SPEECH)
    for file in (vision_pb2, generation_pb2, retrieval_pb2):
        services += file.DESCRIPTOR.services_by_name.values()
    assert {method.name for service in services for method in service.methods} == set(RPCS)


@pytest.mark.parametrize("name", CASES)
async def test_with_all_its_models_allowed_an_operation_works_and_names_them(send, orders, name):
    response = await send(CASES[name], without("none"))
    assert response.status_code == 200, response.text
    ran = {task for rpc, _, _ in orders.seen for task in RPCS.get(rpc, ())}
    assert ran == set(CASES[name].tasks)
    for rpc, _, request in orders.seen:
        for key in {"model", "space"} & set(request.DESCRIPTOR.fields_by_name):
            assert getattr(request, key) or rpc in CHOSEN_BY_SERVICE, rpc


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, case in CASES.items() for task in case.tasks])
async def test_without_one_of_its_models_an_operation_is_refused_before_any_work(send, orders, name, task):
    response = await send(CASES[name], without(task))
    assert response.status_code == 404, response.text
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "not_found")
    assert "for this API key" in error["message"]
    assert not any(RPCS.get(rpc) for rpc, _, _ in orders.seen)


@pytest.mark.parametrize(
    ("name", "task", "param"),
    [
        ("chat with an image", "read_text", "messages[0].content[1].image_url.url"),
        ("chat with a recording", "transcribe", "messages[0].content[1].input_audio.data"),
        ("chat with a search", "embed", "tools[0]"),
        ("spoken chat", "synthesize", "audio"),
        ("chat with an image", "generate_text", "model"),
    ],
)
async def test_a_refused_chat_names_the_part_that_needs_the_model(send, name, task, param):
    assert (await send(CASES[name], without(task))).json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("task", "asked", "model"),
    [
        ("none", "", ""),
        ("none", "fake-aligner", "fake-aligner"),
        ("none", "fake-transcriber", "fake-transcriber"),
        ("align", "", "fake-transcriber"),
    ],
)
async def test_alignment_names_the_models_that_the_key_allows(client, orders, task, asked, model):
    form = {"text": "a", "model": asked}
    response = await client.post("/v1/audio/align", files=FILE, data=form, headers=without(task))
    assert response.status_code == 200, response.text
    [request] = orders.requests("Align")
    assert (request.model, request.transcriber) == (model, "fake-transcriber")


@pytest.mark.parametrize("asked", ["", "fake-aligner"])
async def test_alignment_needs_a_transcriber_since_the_recording_may_be_long(client, orders, asked):
    form = {"text": "a", "model": asked}
    response = await client.post("/v1/audio/align", files=FILE, data=form, headers=without("transcribe"))
    assert response.status_code == 404, response.text
    assert "no model 'fake-transcriber' for this API key" in response.json()["error"]["message"]
    assert not orders.requests("Align")


async def test_a_realtime_session_is_refused_without_its_model(locked):
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        TestClient(build_app(locked)).websocket_connect("/v1/realtime", headers=without("transcribe")),
    ):
        pass
    assert refused.value.status_code == 404


async def test_voices_of_models_that_the_key_may_not_use_are_not_listed(client):
    for task, names in (("none", ["low"]), ("synthesize", [])):
        listed = (await client.get("/v1/audio/voices", headers=without(task))).json()["data"]
        assert [voice["name"] for voice in listed] == names


GRPC = {
    "read_text": (ContentPart(image=Media(inline=b"x")), {}, "messages[0].parts[0].image"),
    "transcribe": (ContentPart(audio=Media(inline=b"x")), {}, "messages[0].parts[0].audio"),
    "embed": (ContentPart(text="x"), {"file_search": pb.FileSearch(vector_store_ids=["vs_1"])}, "file_search"),
    "synthesize": (ContentPart(text="x"), {"spoken": pb.SpokenAnswer()}, "spoken"),
    "generate_text": (ContentPart(text="x"), {}, "model"),
}


@pytest.mark.parametrize("task", GRPC)
async def test_a_chat_over_grpc_is_refused_without_one_of_its_models(locked, settings, orders, task):
    server = grpc.aio.server(interceptors=[CallInterceptor(Telemetry(settings), {})])
    add_GatewayServiceServicer_to_server(GatewayService(locked), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    part, more, param = GRPC[task]
    request = pb.ChatRequest(messages=[ChatMessage(role=ChatMessage.ROLE_USER, parts=[part])], **more)
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    call = GatewayServiceStub(channel).Chat(request, metadata=tuple(without(task).items()))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        [event async for event in call]
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert param in str(dict(refused.value.trailing_metadata()))
    assert not orders.seen
    await channel.close()
    await server.stop(0)


def test_the_first_allowed_model_of_a_task_is_resolved():
    models = [model.model_copy(update={"id": name, "aliases": ()}) for model in MODELS[:1] for name in ("a", "b", "c")]
    directory, task = ModelDirectory(models), models[0].task
    assert [directory.first(task, Caller("t", allowed)) for allowed in ((), ("c", "b"))] == ["a", "b"]
    with pytest.raises(NotFound, match="no model 'a' for this API key"):
        directory.first(task, Caller("t", ["x"]))


def test_of_several_allowed_models_that_a_service_chooses_from_one_must_be_named():
    models = [model.model_copy(update={"id": name, "aliases": ()}) for model in MODELS[:1] for name in ("a", "b", "c")]
    directory, task = ModelDirectory(models), models[0].task
    assert directory.resolve_any((task,), "", Caller("t")) == ""
    assert directory.resolve_any((task,), "", Caller("t", ["b"])) == "b"
    with pytest.raises(InvalidArgument, match="model must be one of b, c for this API key"):
        directory.resolve_any((task,), "", Caller("t", ["b", "c"]))
    with pytest.raises(NotFound, match="no model 'a' for this API key"):
        directory.resolve_any((task,), "", Caller("t", ["x"]))
