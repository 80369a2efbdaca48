import base64
import struct

import httpx
import pytest
from pydantic import SecretStr

from gateway.app import build_app
from gateway.clients import Clients
from gateway.pipelines.store_passages import BATCH
from servekit.errors import Unavailable

IMAGE = b"\x89PNG a picture"


async def test_models_are_listed_with_their_aliases(http):
    ids = [row["id"] for row in (await http.get("/v1/models")).json()["data"]]
    assert "fake-reader" in ids
    assert (await http.get("/v1/models/fake-reader")).json()["task"] == "read_text"
    response = await http.get("/v1/models/none")
    assert (response.status_code, response.json()["error"]["param"]) == (404, "model")


async def test_an_upload_survives_the_deletion_of_another_file_of_the_same_bytes(http):
    """The form ends late: between its file and its end, another file of the same bytes is deleted."""
    other = (await http.post("/v1/files", files={"file": ("a.txt", b"same")})).json()["id"]

    async def body():
        yield b'--b\r\ncontent-disposition: form-data; name="file"; filename="b.txt"\r\n\r\nsame\r\n--b\r\n'
        assert (await http.delete(f"/v1/files/{other}")).status_code == 200
        yield b'content-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n--b--\r\n'

    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await http.post("/v1/files", content=body(), headers=headers)
    assert response.status_code == 200, response.text
    file = response.json()
    assert (file["purpose"], file["bytes"]) == ("assistants", 4)
    assert [row["id"] for row in (await http.get("/v1/files")).json()["data"]] == [file["id"]]
    assert (await http.get(f"/v1/files/{file['id']}/content")).content == b"same"


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"files": {"file": ("a.txt", b"some")}, "data": {"purpose": "none"}}, "purpose"),
        ({"files": {"file": ("a.txt", b"some")}, "data": {"colour": "red"}}, "colour"),
        ({"files": [("file", ("a.txt", b"some")), ("file", ("b.txt", b"more"))]}, "file"),
        ({"files": {"file": ("a.txt", b"")}}, "file"),
        ({"files": {"file": ("a.txt", b"some", "text")}}, "mime_type"),
    ],
)
async def test_a_refused_form_leaves_nothing(http, settings, form, param):
    response = await http.post("/v1/files", **form)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
    assert [path for path in settings.home.rglob("*") if path.is_file()] == []
    assert (await http.get("/v1/files")).json()["data"] == []


async def test_a_filename_that_cannot_be_stored_is_refused(http, settings):
    body = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a\0.txt"\r\n\r\nsome\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = await http.post("/v1/files", content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file")
    assert [path for path in settings.home.rglob("*") if path.is_file()] == []


@pytest.fixture
def no_database(build):
    """A gateway whose database does not answer."""
    url = SecretStr("postgresql://nobody:none@127.0.0.1:1/none")
    return build(database_url=url)


async def test_while_the_database_does_not_answer_files_are_unavailable_and_chat_is_served(no_database):
    transport = httpx.ASGITransport(build_app(no_database))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for call in (
            http.post("/v1/files", files={"file": ("a.txt", b"some")}),
            http.get("/v1/files"),
            http.delete("/v1/files/file-1"),
            http.post("/v1/vector_stores", json={}),
        ):
            response = await call
            assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable"), response.text
            assert response.headers["retry-after"]
        assert (await http.get("/readyz")).json()["database"] == "not_serving"
        messages = [{"role": "user", "content": "Hello"}]
        assert (await http.post("/v1/chat/completions", json={"messages": messages})).status_code == 200


async def test_readiness_is_degraded_without_the_database_alone(http, no_database, monkeypatch):
    async def serving(self, seconds):
        return {"vision": True, "speech": True}

    monkeypatch.setattr(Clients, "health", serving)
    ready = (await http.get("/readyz")).json()
    assert (ready["status"], ready["database"]) == ("ready", "serving")
    transport = httpx.ASGITransport(build_app(no_database))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (200, "degraded")


async def test_without_a_database_files_are_refused_with_the_setting_that_is_missing(build):
    transport = httpx.ASGITransport(build_app(build(database_url=SecretStr(""))))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for call in (http.post("/v1/files", files={"file": ("a.txt", b"some")}), http.get("/v1/vector_stores")):
            response = await call
            assert response.status_code == 400
            assert "POLYPHONY_GATEWAY_DATABASE_URL" in response.json()["error"]["message"]
        assert "database" not in (await http.get("/readyz")).json()


@pytest.mark.parametrize("way", ["raw", "form", "json"])
async def test_an_image_is_read_from_a_raw_body_a_form_or_json(http, orders, way):
    match way:
        case "raw":
            response = await http.post("/v1/vision/read?min_confidence=0.5", content=IMAGE)
        case "form":
            data = {"min_confidence": "0.5"}
            response = await http.post("/v1/vision/read", files={"file": ("a.png", IMAGE, "image/png")}, data=data)
        case _:
            url = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
            response = await http.post("/v1/vision/read", json={"image_url": url, "min_confidence": 0.5})
    assert response.status_code == 200, response.text
    assert response.json()["text"] == "Total: 42 euros"
    assert (response.json()["width"], response.json()["height"]) == (10, 20)
    (request,) = orders.requests("ReadText")
    assert (request.image.inline, request.min_confidence) == (IMAGE, 0.5)


async def test_a_large_image_goes_by_reference(http, orders, state):
    image = bytes(state.settings.max_inline_media_bytes + 1)
    assert (await http.post("/v1/vision/read", content=image)).status_code == 200
    reference = orders.requests("ReadText")[0].image.reference
    assert await state.store.read("default", reference, len(image)) == image


@pytest.mark.parametrize(
    ("path", "arguments", "status", "param"),
    [
        ("/v1/vision/read", {"content": b"not an image"}, 415, "body"),
        ("/v1/vision/read", {"content": b""}, 400, "body"),
        ("/v1/vision/read?min_confidence=2", {"content": b"x"}, 400, "min_confidence"),
        ("/v1/vision/read?model=none", {"content": b"x"}, 404, "model"),
        ("/v1/vision/read?modle=x", {"content": b"x"}, 400, "modle"),
        ("/v1/vision/read", {"files": {"file": ("a", b"")}}, 400, "file"),
        ("/v1/vision/read", {"json": {"image_url": "ftp://x"}}, 400, "image_url"),
        (
            "/v1/vision/read",
            {"content": b'{"image_url": "ftp://x"}', "headers": {"content-type": "Application/JSON"}},
            400,
            "image_url",
        ),
        ("/v1/audio/transcriptions", {"content": b"x"}, 400, "body"),
        ("/v1/audio/transcriptions", {"data": {"model": "x"}, "files": {"other": (None, b"x")}}, 400, "other"),
        ("/v1/audio/transcriptions", {"files": {"file": ("a.wav", b"")}}, 400, "file"),
        (
            "/v1/audio/transcriptions",
            {"files": {"file": ("a", b"x")}, "data": {"response_format": "ass"}},
            400,
            "response_format",
        ),
        (
            "/v1/audio/transcriptions",
            {"files": {"file": ("a", b"x")}, "data": {"temperature": "hot"}},
            400,
            "temperature",
        ),
        ("/v1/audio/transcriptions", {"files": {"file": ("a", b"x")}, "data": {"model": "none"}}, 404, "model"),
        ("/v1/audio/speech", {"json": {"input": ""}}, 400, "input"),
        ("/v1/audio/speech", {"json": {"input": "Hi", "speed": 9}}, 400, "speed"),
        ("/v1/audio/speech", {"json": {"input": "Hi", "response_format": "midi"}}, 400, "response_format"),
        ("/v1/embeddings", {"json": {"input": ""}}, 400, "input[0]"),
        ("/v1/embeddings", {"json": {"input": []}}, 400, "input"),
        ("/v1/embeddings", {"json": {"input": [1, 2]}}, 400, "input"),
        ("/v1/embeddings", {"json": {"input": ["x"] * 2049}}, 413, "input"),
        ("/v1/embeddings", {"json": {"input": "x", "dimensions": 7}}, 400, "dimensions"),
        ("/v1/files", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "body"),
        ("/v1/files", {"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "body"),
        ("/v1/files", {"files": {"file": ("a", b"x")}, "data": {"purpose": "fun"}}, 400, "purpose"),
        ("/v1/vector_stores", {"json": {"file_ids": ["file-x"]}}, 404, "file_ids[0]"),
        ("/v1/vector_stores/vs_none/search", {"json": {"query": "x"}}, 404, "vector_store_id"),
        ("/v1/vector_stores/..%2Fx/search", {"json": {"query": "x"}}, 404, None),
    ],
)
async def test_bad_requests_name_their_field(http, path, arguments, status, param):
    response = await http.post(path, **arguments)
    assert response.status_code == status, response.text
    assert response.json()["error"]["param"] == param, response.text


async def test_a_recording_is_transcribed(http, orders):
    orders.words = "One. Two"
    files = {"file": ("a.wav", b"sound", "audio/wav")}
    assert (await http.post("/v1/audio/transcriptions", files=files)).json()["text"] == "One Two"
    text = await http.post("/v1/audio/transcriptions", files=files, data={"response_format": "text"})
    assert text.text == "One Two\n"
    data = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"], "language": "en"}
    verbose = (await http.post("/v1/audio/transcriptions", files=files, data=data)).json()
    assert [(row["start"], row["end"], row["text"]) for row in verbose["segments"]] == [(0, 1, "One"), (1, 2, "Two")]
    assert (verbose["duration"], verbose["language"], verbose["words"]) == (2.5, "english", [])
    assert orders.requests("Transcribe")[-1].word_times


async def test_a_large_recording_is_streamed_to_the_store(http, orders, state):
    sound = bytes(3 * state.settings.max_inline_media_bytes)
    response = await http.post("/v1/audio/transcriptions", files={"file": ("a.wav", sound, "audio/wav")})
    assert response.status_code == 200, response.text
    audio = orders.requests("Transcribe")[0].audio
    assert audio.mime_type == "audio/wav"
    assert await state.store.read("default", audio.reference, len(sound)) == sound


async def test_a_text_is_synthesized(http, orders):
    response = await http.post("/v1/audio/speech", json={"input": "Hello", "voice": "default", "model": ""})
    assert (response.content, response.headers["content-type"]) == (b"Hello", "audio/mpeg")
    orders.fail["Synthesize"] = Unavailable("gone", retry_after=2)
    response = await http.post("/v1/audio/speech", json={"input": "Hello"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


async def test_embeddings_as_numbers_and_as_base64(http):
    plain = (await http.post("/v1/embeddings", json={"input": ["a", "abc"]})).json()
    assert [row["embedding"] for row in plain["data"]] == [[1, 1], [3, 1]]
    packed = (await http.post("/v1/embeddings", json={"input": "abc", "encoding_format": "base64"})).json()
    assert struct.unpack("<2f", base64.b64decode(packed["data"][0]["embedding"])) == (3, 1)


async def test_a_file_from_upload_to_deletion(http, state):
    content = bytes(range(256)) * 1000
    files = {"file": ("ä.bin", content, "application/x-thing")}
    kept = (await http.post("/v1/files", files=files, data={"purpose": "user_data"})).json()
    assert (kept["bytes"], kept["filename"], kept["object"]) == (len(content), "ä.bin", "file")
    assert (await http.get(f"/v1/files/{kept['id']}")).json() == kept
    got = await http.get(f"/v1/files/{kept['id']}/content")
    assert got.headers["content-disposition"] == "attachment"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert (got.content, got.headers["content-type"]) == (content, "application/x-thing")
    twin = (await http.post("/v1/files", files=files)).json()
    assert {row["id"] for row in (await http.get("/v1/files")).json()["data"]} == {kept["id"], twin["id"]}
    assert (await http.delete(f"/v1/files/{kept['id']}")).json()["deleted"]
    assert (await http.get(f"/v1/files/{kept['id']}")).status_code == 404
    assert (await http.get(f"/v1/files/{twin['id']}/content")).content == content
    assert (await http.get("/v1/files/file-none")).status_code == 404


async def test_a_vector_store_from_creation_to_deletion(http):
    text = "Cats sleep all day. " * 40 + "The bill is 42 euros."
    file = (await http.post("/v1/files", files={"file": ("a.txt", text)})).json()["id"]
    store = (await http.post("/v1/vector_stores", json={"name": "mine", "file_ids": [file]})).json()
    assert (store["file_counts"]["completed"], store["usage_bytes"]) == (1, len(text))
    url = f"/v1/vector_stores/{store['id']}"
    found = (await http.post(f"{url}/search", json={"query": "bill euros", "max_num_results": 1})).json()
    (passage,) = found["data"]
    assert (passage["file_id"], passage["filename"]) == (file, "a.txt")
    assert "42 euros" in passage["content"][0]["text"]
    assert [row["id"] for row in (await http.get(f"{url}/files")).json()["data"]] == [file]
    assert (await http.delete(f"{url}/files/{file}")).json()["deleted"]
    assert (await http.post(f"{url}/search", json={"query": "bill"})).json()["data"] == []
    assert (await http.delete(url)).json() == {"id": store["id"], "object": "vector_store.deleted", "deleted": True}
    assert (await http.get(url)).status_code == 404


async def test_deleting_a_vector_store_deletes_its_collection(http, orders):
    text = "The bill is 42 euros."
    file = (await http.post("/v1/files", files={"file": ("a.txt", text)})).json()["id"]
    store = (await http.post("/v1/vector_stores", json={"file_ids": [file]})).json()["id"]
    url = f"/v1/vector_stores/{store}"
    orders.fail["DeleteCollection"] = Unavailable("the database does not answer")
    assert (await http.delete(url)).status_code == 503
    assert (await http.get(url)).json()["file_counts"]["total"] == 1
    del orders.fail["DeleteCollection"]
    assert (await http.delete(url)).status_code == 200
    assert {request.collection for request in orders.requests("DeleteCollection")} == {store}
    assert (await http.get("/v1/vector_stores")).json()["data"] == []


async def test_a_vector_store_whose_collection_is_gone_can_be_deleted(http, retrieval):
    store = (await http.post("/v1/vector_stores", json={})).json()["id"]
    retrieval.points.clear()
    assert (await http.delete(f"/v1/vector_stores/{store}")).status_code == 200
    assert (await http.get("/v1/vector_stores")).json()["data"] == []


async def test_a_vector_store_that_is_not_recorded_leaves_no_collection(http, state, retrieval, monkeypatch):
    async def fail(tenant, record):
        raise Unavailable("the object store does not answer")

    monkeypatch.setattr(state.records, "add_vector_store", fail)
    assert (await http.post("/v1/vector_stores", json={})).status_code == 503
    assert retrieval.points == {}


async def test_a_vector_store_that_is_not_complete_is_deleted_again(http, orders, retrieval):
    file = (await http.post("/v1/files", files={"file": ("a.txt", "The bill is 42 euros.")})).json()["id"]
    orders.fail["ReplacePoints"] = Unavailable("the database does not answer")
    assert (await http.post("/v1/vector_stores", json={"file_ids": [file]})).status_code == 503
    assert retrieval.points == {}
    assert (await http.get("/v1/vector_stores")).json()["data"] == []


async def test_a_vector_store_whose_cleanup_fails_can_be_deleted(http, orders, retrieval):
    file = (await http.post("/v1/files", files={"file": ("a.txt", "The bill is 42 euros.")})).json()["id"]
    orders.fail["ReplacePoints"] = orders.fail["DeleteCollection"] = Unavailable("the database does not answer")
    assert (await http.post("/v1/vector_stores", json={"file_ids": [file]})).status_code == 503
    (store,) = (await http.get("/v1/vector_stores")).json()["data"]
    orders.fail.clear()
    assert (await http.delete(f"/v1/vector_stores/{store['id']}")).status_code == 200
    assert retrieval.points == {}


@pytest.fixture
async def attached(http):
    """The address of a vector store's files, and the id of a file of several batches of passages in it."""
    text = " ".join(f"Pump {number} lost pressure and was repaired in the same week." for number in range(800))
    file = (await http.post("/v1/files", files={"file": ("pumps.txt", text)})).json()["id"]
    store = (await http.post("/v1/vector_stores", json={})).json()["id"]
    url = f"/v1/vector_stores/{store}/files"
    attached = await http.post(url, json={"file_id": file, "attributes": {"version": "old"}})
    assert attached.json()["status"] == "completed"
    return url, file


def passages_of(retrieval):
    """The versions of the passages that searches find."""
    [points] = retrieval.points.values()
    return [point.metadata["attributes"]["version"] for point in points.values()]


async def test_attaching_a_file_again_replaces_its_passages(http, attached, retrieval):
    url, file = attached
    count = len(passages_of(retrieval))
    assert count > 2 * BATCH
    await http.post(url, json={"file_id": file, "attributes": {"version": "new"}})
    assert passages_of(retrieval) == ["new"] * count
    assert (await http.get(f"{url}/{file}")).json()["attributes"] == {"version": "new"}


@pytest.mark.parametrize("failing", ["ReplacePoints", "ReplacePoints.batch"])
async def test_a_failed_second_attachment_keeps_the_passages_of_the_first(http, attached, retrieval, orders, failing):
    url, file = attached
    count = len(passages_of(retrieval))
    orders.fail[failing] = Unavailable("the disk is full")
    response = await http.post(url, json={"file_id": file, "attributes": {"version": "new"}})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert passages_of(retrieval) == ["old"] * count
    assert (await http.get(f"{url}/{file}")).json()["attributes"] == {"version": "old"}
    orders.fail.clear()
    assert (await http.delete(f"{url}/{file}")).status_code == 200
    assert passages_of(retrieval) == []


async def test_an_attachment_is_retried_where_a_replica_stops(http, attached, retrieval, orders, monkeypatch):
    url, file = attached
    count = len(passages_of(retrieval))
    obey = orders.obey

    async def stop_once(name, request):
        await obey(name, request)
        if len(orders.requests("ReplacePoints.batch")) == 2:
            monkeypatch.undo()
            raise Unavailable("the service is stopping")

    monkeypatch.setattr(orders, "obey", stop_once)
    orders.seen.clear()
    response = await http.post(url, json={"file_id": file, "attributes": {"version": "new"}})
    assert (response.status_code, passages_of(retrieval)) == (200, ["new"] * count)
    assert len(orders.requests("ReplacePoints")) == 2


async def test_a_file_whose_first_attachment_fails_is_not_in_the_vector_store(http, attached, retrieval, orders):
    url, file = attached
    await http.delete(f"{url}/{file}")
    orders.fail["ReplacePoints.batch"] = Unavailable("the engine has crashed")
    assert (await http.post(url, json={"file_id": file})).status_code == 503
    assert passages_of(retrieval) == []
    assert (await http.get(url)).json()["data"] == []
    assert (await http.get(f"{url}/{file}")).status_code == 404


async def test_attaching_again_completes_an_attachment_without_a_record(http, attached, retrieval, state, monkeypatch):
    url, file = attached
    count = len(passages_of(retrieval))

    async def killed(self, tenant, change):
        raise Unavailable("the process ends between the passages and their record")

    with monkeypatch.context() as patch:
        patch.setattr(type(state.records), "finish_change", killed)
        again = {"file_id": file, "attributes": {"version": "new"}}
        assert (await http.post(url, json=again)).status_code == 503
    assert (await http.post(url, json=again)).status_code == 200
    assert passages_of(retrieval) == ["new"] * count
    assert (await http.get(f"{url}/{file}")).json()["attributes"] == {"version": "new"}


async def test_only_text_is_indexed(http):
    file = (await http.post("/v1/files", files={"file": ("a.bin", b"\xff\xfe\x00")})).json()["id"]
    store = (await http.post("/v1/vector_stores", json={})).json()["id"]
    response = await http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file})
    assert (response.status_code, response.json()["error"]["param"]) == (415, "file_id")


async def test_readiness_names_the_missing_services(http, build):
    assert (await http.get("/healthz")).status_code == 200
    ready = await http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["services"]["vision"] == "not_serving"


async def test_metrics_and_the_document(http):
    await http.get("/v1/models")
    assert 'polyphony_requests_total{code="OK",method="GET /v1/models"} 1.0' in (await http.get("/metrics")).text
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    chat = document["paths"]["/v1/chat/completions"]["post"]
    name = chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert "messages" in document["components"]["schemas"][name]["properties"]
    page = await http.get("/docs")
    assert "http" not in page.text.replace("http-equiv", "")
    script = await http.get("/docs/assets/swagger-ui-bundle.js")
    assert script.status_code == 200
    assert "openapi: 3.x.y" in script.text  # what it says it renders; version 4 stopped at 3.0
    assert (await http.get("/docs/page.js")).status_code == 200


async def test_unknown_paths_and_methods_have_the_same_shape(http):
    response = await http.get("/v1/nothing", headers={"x-request-id": "mine"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")
    assert response.headers["x-request-id"] == "mine"
    response = await http.get("/v1/embeddings")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_a_deadline_may_be_shortened_but_not_be_nonsense(http, orders):
    orders.seconds["Embed"] = 30
    response = await http.post("/v1/embeddings", json={"input": "x"}, headers={"x-polyphony-timeout": "0.2"})
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")
    for nonsense in ("0", "-1", "nan", "soon"):
        response = await http.get("/v1/models", headers={"x-polyphony-timeout": nonsense})
        assert response.json()["error"]["param"] == "x-polyphony-timeout"


@pytest.mark.parametrize(("seconds", "status"), [("60", 200), ("0", 400), ("9" * 19, 400), ("soon", 400)])
async def test_a_file_expires_when_the_form_says(http, seconds, status):
    data = {"purpose": "assistants", "expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    answer = await http.post("/v1/files", files={"file": ("a.txt", b"text", "text/plain")}, data=data)
    assert answer.status_code == status, answer.text
    if status == 200:
        assert answer.json()["expires_at"] == answer.json()["created_at"] + 60
    else:
        assert answer.json()["error"]["param"] == "expires_after.seconds"


@pytest.mark.parametrize(("path", "most"), [("/v1/files", 1000), ("/v1/vector_stores", 100), (None, 100)])
async def test_lists_have_pages(http, path, most):
    ids = [(await http.post("/v1/files", files={"file": ("a.txt", b"text")})).json()["id"] for _ in range(3)]
    if path == "/v1/vector_stores":
        ids = [(await http.post(path, json={})).json()["id"] for _ in range(3)]
    elif path is None:
        store = (await http.post("/v1/vector_stores", json={"file_ids": ids})).json()["id"]
        path = f"/v1/vector_stores/{store}/files"
    first = (await http.get(path, params={"limit": 2})).json()
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = (await http.get(path, params={"limit": 2, "after": first["last_id"]})).json()
    assert (len(second["data"]), second["has_more"]) == (1, False)
    assert sorted(row["id"] for row in first["data"] + second["data"]) == sorted(ids)
    for query, status in (
        ({"limit": most + 1}, 400),
        ({"limit": 0}, 400),
        ({"limit": "x"}, 400),
        ({"after": "x"}, 404),
    ):
        answer = await http.get(path, params=query)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, *query)
