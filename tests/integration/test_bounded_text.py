"""A caller's text is bounded in answers and logs: every string field of every request, over HTTP and gRPC."""

import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import msgspec
import pytest
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from polyphony.gateway.v1 import gateway_pb2
from polyphony.generation.v1 import generation_pb2
from polyphony.retrieval.v1 import retrieval_pb2
from polyphony.vision.v1 import vision_pb2
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway.app import OPERATIONS
from gateway.schemas.realtime import ClientEvent
from services.speech.service import SERVICES as SPEECH
from tests.integration.conftest import picture, recording

LETTERS = 1_000_000
CONTENT = "confidential-7391"
MAX_ERROR_BYTES, MAX_LOG_LINE_BYTES, MAX_ECHO = 4096, 8192, b"A" * 300

# --- every string of a type, by msgspec's own description of it

Path = tuple[str | int, ...]
KEY = "<key>"  # in a path: the key of a dict


def example(kind: msgspec.inspect.Type) -> Any:
    """A small value of a type."""
    inspect = msgspec.inspect
    match kind:
        case inspect.StructType():
            tag = {kind.tag_field: kind.tag} if kind.tag_field else {}
            return tag | {field.encode_name: example(field.type) for field in kind.fields if field.required}
        case inspect.UnionType():
            return example(kind.types[0])
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.StrType() | inspect.CustomType():
            return "x"
        case inspect.ListType():
            return [example(kind.item_type)]
        case inspect.DictType():
            return {"key": "x"}
        case inspect.IntType() | inspect.FloatType():
            return kind.ge if kind.ge is not None else 1
    return None


def requests_with(text: str, kind: msgspec.inspect.Type) -> Iterator[tuple[str, Any]]:
    """Each place of a type, as its path and a value of the type which has the text there."""
    inspect = msgspec.inspect
    match kind:
        case inspect.StructType():
            base = example(kind)
            for field in kind.fields:
                for path, value in requests_with(text, field.type):
                    yield f".{field.encode_name}{path}", base | {field.encode_name: value}
            yield ".<unknown>", base | {text[: len(text) // 2]: 1}
            if kind.tag_field:
                yield f".{kind.tag_field}", base | {kind.tag_field: text}
        case inspect.UnionType():
            for each in kind.types:
                yield from requests_with(text, each)
        case inspect.StrType() | inspect.CustomType() | inspect.LiteralType() | inspect.IntType() | inspect.BoolType():
            yield "", text
        case inspect.ListType():
            for path, value in requests_with(text, kind.item_type):
                yield f"[0]{path}", [value]
        case inspect.DictType():
            yield "[key]", {text: "x"}
            yield "[value]", {"key": text}


def check_answer(response: httpx.Response, what: str) -> None:
    assert response.status_code < 500, (what, response.status_code, response.text[:300])
    assert MAX_ECHO not in response.content, (what, response.status_code, len(response.content))
    if response.status_code >= 400:
        assert len(response.content) < MAX_ERROR_BYTES, (what, len(response.content))


@pytest.fixture(autouse=True)
def bounded_logs(fleet) -> Iterator[None]:
    """After each test: no line of any log of the fleet is long, and none has what was sent."""
    yield
    for log in (fleet.home / "logs").iterdir():
        for line in log.read_bytes().splitlines():
            assert len(line) < MAX_LOG_LINE_BYTES, (log.name, line[:300])
            assert MAX_ECHO not in line, (log.name, line[:300])
            assert CONTENT.encode() not in line, (log.name, line[:300])


JSON = {row.id: row for row in OPERATIONS if row.body is not None}
RETURNED = {"createAlignment": [".text"], "createAssessment": [".reference_text"]}  # in the answer, as it must be
FORMS = {row.id: row for row in OPERATIONS if row.form is not None}


@pytest.fixture(scope="module")
def path_of(http):
    """The path of an operation; the vector store and the file that it names exist."""
    file = http.post("/v1/files", files={"file": ("a.txt", b"A text.")}).json()["id"]
    store = http.post("/v1/vector_stores", json={"name": "s"}).json()["id"]
    return lambda row: row.path.format(vector_store_id=store, file_id=file, name="pump", model="fake-reader")


@pytest.mark.parametrize("operation", JSON)
def test_no_string_of_a_json_body_is_repeated_at_length(http, path_of, operation):
    row = JSON[operation]
    kind = msgspec.inspect.type_info(row.body)
    for path, body in requests_with("A" * LETTERS, kind):
        check_answer(http.post(path_of(row), json=body), f"{operation} {path}")
    for _, body in requests_with(CONTENT, kind):
        http.post(path_of(row), json=body)


def test_the_largest_chat_body_is_answered_briefly(http):
    """40 MB of a model's name, which were 40 MB of answer and a log line of 40 MB."""
    body = {"model": "A" * 40_000_000, "messages": [{"role": "user", "content": "Hi"}]}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code in (404, 413)
    check_answer(response, "model")


@pytest.mark.parametrize("operation", FORMS)
def test_no_field_of_a_form_is_repeated_at_length(http, path_of, operation):
    row = FORMS[operation]
    kind = msgspec.inspect.type_info(row.form)
    files = {"file": ("a.wav", recording() if "audio" in row.path else picture())}
    for text in ("A" * 60_000, CONTENT):
        for path, fields in requests_with(text, kind):
            data = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
            response = http.post(path_of(row), data=data, files=files)
            if path not in RETURNED.get(operation, ()):
                check_answer(response, f"{operation} {path}")


@pytest.mark.parametrize("operation", [row for row in OPERATIONS if "{" in row.path], ids=lambda row: row.id)
def test_no_part_of_a_path_is_repeated_at_length(http, operation):
    long = "A" * 50_000
    path = operation.path.format(vector_store_id=long, file_id=long, name=long, model=long)
    check_answer(http.request(operation.method, path[:60_000]), operation.id)


@pytest.mark.parametrize(
    "header",
    [
        "authorization",
        "x-request-id",
        "x-polyphony-timeout",
        "traceparent",
        "tracestate",
        "baggage",
        "content-type",
        "host",
        "origin",
        "sec-fetch-site",
    ],
)
def test_no_header_is_repeated_at_length(http, header):
    response = http.post("/v1/embeddings", json={"input": "x"}, headers={header: "A" * 30_000})
    check_answer(response, header)
    assert len(response.headers["x-request-id"]) <= 128


def test_no_query_is_repeated_at_length(http):
    for query in ("model", "A" * 30_000):
        check_answer(http.post(f"/v1/vision/read?{query}={'A' * 30_000}", content=picture()), query)
    check_answer(http.get(f"/v1/{'A' * 60_000}"), "path")
    check_answer(http.request("A" * 30_000, "/v1/models"), "method")


def test_no_event_of_a_session_is_repeated_at_length(fleet):
    url = fleet.address("gateway").replace("http", "ws") + "/v1/realtime"
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{url}?model={'A' * 30_000}")
    assert refused.value.response.status_code == 404
    assert len(refused.value.response.body) < MAX_ERROR_BYTES
    kind = msgspec.inspect.type_info(ClientEvent)
    for text in ("A" * 500_000, CONTENT):
        for path, event in requests_with(text, kind):
            if path.endswith((".prompt", ".keywords[0]", ".audio")):
                continue  # the state of the session has it, or it is audio
            with connect(f"{url}?other={text[:1000]}", max_size=None) as socket:
                socket.recv()
                socket.send(json.dumps(event))
                answer = socket.recv(timeout=20)
                assert len(answer) < MAX_ERROR_BYTES, (path, len(answer))


# --- every string of a message, by its descriptor

SERVICES = (
    gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    vision_pb2.DESCRIPTOR.services_by_name["VisionService"],
    generation_pb2.DESCRIPTOR.services_by_name["GenerationService"],
    retrieval_pb2.DESCRIPTOR.services_by_name["RetrievalService"],
    *SPEECH,
)
METHODS = {f"{service.name}/{row.name}": row for service in SERVICES for row in service.methods}


def required(field: FieldDescriptor) -> bool:
    return field_behavior_pb2.REQUIRED in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]


def fill(message: Any, name: str = "") -> Any:
    """Set the required fields of a message to small values."""
    kind = message.DESCRIPTOR.name
    if kind == "Media":
        message.inline = recording() if "audio" in name else picture()
    elif kind == "ContentPart":
        message.text = "x"
    elif kind == "ChatMessage":
        message.role = message.ROLE_USER
    for field in message.DESCRIPTOR.fields:
        if not required(field):
            continue
        value = getattr(message, field.name)
        if field.message_type is not None:
            fill(value.add() if field.is_repeated else value, field.name)
            if not field.is_repeated:
                value.SetInParent()
        elif field.is_repeated:
            value.append("x")
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, "x")
    return message


def strings(descriptor: Descriptor, above: tuple[str, ...] = ()) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The paths to all strings of a message."""
    if descriptor.full_name in above:
        return
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (field,)
        elif field.message_type is not None:
            for rest in strings(field.message_type, (*above, descriptor.full_name)):
                yield (field, *rest)


def long_at(message: Any, path: tuple[FieldDescriptor, ...]) -> None:
    """Set the string at a path."""
    field, *rest = path
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = path[1:]
        if inner[0].name == "key":
            _ = value["A" * LETTERS]
        elif inner[0].message_type is None:
            value["key"] = "A" * LETTERS
        else:
            long_at(value["key"], inner[1:])
    elif rest:
        if field.is_repeated:
            value = value[0] if len(value) else fill(value.add(), field.name)
        long_at(value, tuple(rest))
    elif field.is_repeated:
        value.append("A" * LETTERS)
    else:
        setattr(message, field.name, "A" * LETTERS)


def call(channel: grpc.Channel, method: Any, request: Any, metadata: Any = ()) -> list[Any]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    codec = (type(request).SerializeToString, GetMessageClass(method.output_type).FromString)
    if method.client_streaming:
        return list(channel.stream_stream(path, *codec)(iter([request]), timeout=20, metadata=metadata))
    if method.server_streaming:
        return list(channel.unary_stream(path, *codec)(request, timeout=20, metadata=metadata))
    return [channel.unary_unary(path, *codec)(request, timeout=20, metadata=metadata)]


@pytest.fixture(scope="module")
def channels(fleet) -> Iterator[dict[str, grpc.Channel]]:
    status = fleet.status()
    nouns = [name for name in status if name != "supervisor"]
    kinds = {"gateway": "grpc"}
    channels = {noun: grpc.insecure_channel(status[noun][kinds.get(noun, "address")]) for noun in nouns}
    yield channels
    for channel in channels.values():
        channel.close()


def check_call(channel: grpc.Channel, method: Any, request: Any, what: str, metadata: Any = ()) -> None:
    try:
        answers = call(channel, method, request, metadata)
    except grpc.RpcError as error:
        details, trailers = error.details() or "", error.trailing_metadata() or ()
        code = error.code()
        assert code not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL), (what, details[:300])
        assert "metadata" not in details, (what, details[:300])  # trailers that the client does not take
        assert len(details.encode()) < MAX_ERROR_BYTES, (what, len(details))
        assert sum(len(key) + len(value) for key, value in trailers) < MAX_LOG_LINE_BYTES, what
        assert MAX_ECHO.decode() not in details, (what, details[:300])
    else:
        assert all(MAX_ECHO not in answer.SerializeToString() for answer in answers), what


@pytest.mark.parametrize("name", METHODS)
def test_no_string_of_a_message_is_repeated_at_length(channels, name):
    method = METHODS[name]
    noun = method.containing_service.full_name.split(".")[1]
    for path in strings(method.input_type):
        request = fill(GetMessageClass(method.input_type)())
        long_at(request, path)
        check_call(channels[noun], method, request, f"{name} {'.'.join(field.name for field in path)}")


@pytest.mark.parametrize("key", ["x-polyphony-tenant", "x-request-id", "traceparent", "authorization"])
def test_no_metadata_is_repeated_at_length(channels, key):
    method = METHODS["RetrievalService/Embed"]
    request = fill(GetMessageClass(method.input_type)())
    check_call(channels["retrieval"], method, request, key, ((key, "A" * 4000),))


def test_no_metric_has_a_callers_text(fleet):
    """After everything above: labels are names of this project, never of a caller."""
    for process, row in fleet.status().items():
        if process != "supervisor":
            text = httpx.get(f"http://{row['metrics']}/metrics").text
            assert "polyphony_requests_total" in text
            assert "A" * 50 not in text
            assert CONTENT not in text
