"""The retrieval service over real gRPC, on its fake model."""

import asyncio
import time

import numpy as np
import psycopg
import pytest
import trustme
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health_pb2
from polyphony.retrieval.v1 import retrieval_pb2 as pb
from polyphony.retrieval.v1.retrieval_pb2_grpc import RetrievalServiceStub
from polyphony.type.v1.embedding_pb2 import Embedding
from pydantic import SecretStr
from tritonclient.grpc import InferenceServerClient, InferInput

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Overloaded,
    TooLarge,
    Unavailable,
)
from servekit.rpc.client import connect
from services.retrieval.service import build
from services.retrieval.settings import RetrievalSettings

NAME = "polyphony.retrieval.v1.RetrievalService"


@pytest.fixture
def settings(tmp_path):
    return RetrievalSettings(
        profile="fake",
        home=tmp_path,
        port=0,
        metrics_port=0,
        threads=2,
        database_url="memory:",
        drain_timeout_seconds=0.0,
    )


@pytest.fixture
async def server(serve, settings):
    server = await serve(settings, build)
    await until_health_is(server, health_pb2.HealthCheckResponse.SERVING)
    return server


@pytest.fixture
def stub(server, dial):
    return RetrievalServiceStub(dial(server, NAME))


async def until_health_is(server, status):
    async with asyncio.timeout(20):
        while (await server._health.Check(health_pb2.HealthCheckRequest(), None)).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def rejected(call, field, error=InvalidArgument):
    """Assert that a call fails within 5 seconds and names the field."""
    began = time.monotonic()
    with pytest.raises(error) as raised:
        await call
    assert raised.value.field == field
    assert time.monotonic() - began < 5


def texts(*values):
    return [pb.EmbedInput(text=value) for value in values]


def vector(values, dtype=Embedding.DTYPE_FLOAT32, shape=None, space=""):
    packed = np.array(values, "<f2" if dtype == Embedding.DTYPE_FLOAT16 else "<f4")
    return Embedding(
        data=packed.tobytes(), dtype=dtype, shape=list(packed.shape) if shape is None else shape, space=space
    )


def struct(**values):
    made = Struct()
    made.update(values)
    return made


async def test_embed_answers_each_input_in_its_order(stub):
    many = [f"text number {n} of many" for n in range(300)]
    answer = await stub.Embed(pb.EmbedRequest(inputs=texts(*many, "word " * 300)))
    assert list(answer.embeddings.shape) == [301, 384]
    assert (answer.embeddings.dtype, answer.embeddings.space) == (Embedding.DTYPE_FLOAT32, "fake-embedder")
    assert (answer.model, answer.tokens, list(answer.truncated_inputs)) == ("fake-embedder", 300 * 5 + 256, [300])
    vectors = np.frombuffer(answer.embeddings.data, "<f4").reshape(301, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    alone = await stub.Embed(pb.EmbedRequest(inputs=texts(many[7]), model="fake-embedder"))
    np.testing.assert_array_equal(np.frombuffer(alone.embeddings.data, "<f4"), vectors[7])


BAD_EMBEDS = (
    (pb.EmbedRequest(), InvalidArgument, "inputs"),
    (pb.EmbedRequest(inputs=texts("a", " \n")), InvalidArgument, "inputs[1].text"),
    (pb.EmbedRequest(inputs=[pb.EmbedInput()]), InvalidArgument, "inputs[0].text"),
    (pb.EmbedRequest(inputs=texts("x" * 1_000_000)), TooLarge, "inputs[0].text"),
    (pb.EmbedRequest(inputs=texts(*["a"] * 2049)), TooLarge, "inputs"),
    (pb.EmbedRequest(inputs=texts("a"), model="gpt-9"), NotFound, "model"),
)


async def test_embed_rejects_bad_inputs(stub):
    for request, error, field in BAD_EMBEDS:
        await rejected(stub.Embed(request), field, error)


async def test_points_written_as_text_are_found_by_text(stub):
    made = await stub.CreateCollection(pb.CreateCollectionRequest(name="manuals"))
    assert made.collection == pb.Collection(
        name="manuals", space="fake-embedder", dimensions=384, metric=pb.METRIC_COSINE
    )
    points = [
        pb.Point(id="1", text="the pump lost pressure", metadata=struct(page=1, tags=["pump"])),
        pb.Point(id="2", text="a cat sat on the mat", metadata=struct(page=2)),
        pb.Point(id="3", text="replace the pump filter"),
    ]
    written = await stub.Upsert(pb.UpsertRequest(collection="manuals", points=points))
    assert written.written_count == 3
    found = await stub.Search(pb.SearchRequest(collection="manuals", text="pump pressure", limit=2))
    assert [hit.point.id for hit in found.points] == ["1", "3"]
    assert found.points[0].point == points[0]
    assert not found.points[1].point.HasField("metadata")
    assert 1 > found.points[0].score > found.points[1].score > 0

    filtered = await stub.Search(pb.SearchRequest(collection="manuals", text="pump pressure", filter=struct(page=2)))
    assert [hit.point.id for hit in filtered.points] == ["2"]
    least = pb.SearchRequest(collection="manuals", text="pump pressure", min_score=found.points[0].score - 1e-4)
    assert [hit.point.id for hit in (await stub.Search(least)).points] == ["1"]

    assert (await stub.Delete(pb.DeleteRequest(collection="manuals", filter=struct(page=2)))).deleted_count == 1
    assert (await stub.Delete(pb.DeleteRequest(collection="manuals", ids=["1", "x"]))).deleted_count == 1
    left = await stub.Search(pb.SearchRequest(collection="manuals", text="pump pressure"))
    assert [hit.point.id for hit in left.points] == ["3"]


@pytest.mark.parametrize(
    ("metric", "best", "score"),
    [(pb.METRIC_COSINE, "near", 1.0), (pb.METRIC_DOT, "long", 8.0), (pb.METRIC_EUCLIDEAN, "near", -1.0)],
)
async def test_a_collection_of_another_space_is_searched_by_vectors(stub, metric, best, score):
    await stub.CreateCollection(pb.CreateCollectionRequest(name="v", space="clip/b32", dimensions=2, metric=metric))
    points = [
        pb.Point(id="near", embedding=vector([1, 0], space="clip/b32")),
        pb.Point(id="long", embedding=vector([4, 4], dtype=Embedding.DTYPE_FLOAT16)),
    ]
    await stub.Upsert(pb.UpsertRequest(collection="v", points=points))
    found = await stub.Search(pb.SearchRequest(collection="v", embedding=vector([2, 0])))
    assert (found.points[0].point.id, found.points[0].score) == (best, pytest.approx(score))
    with pytest.raises(FailedPrecondition) as raised:
        await stub.Search(pb.SearchRequest(collection="v", text="no model knows this space"))
    assert raised.value.field == "text"


async def test_tenants_do_not_see_each_other(stub):
    enter(RequestContext(tenant="ada"))
    await stub.CreateCollection(pb.CreateCollectionRequest(name="notes"))
    await stub.Upsert(pb.UpsertRequest(collection="notes", points=[pb.Point(id="1", text="hers")]))
    with pytest.raises(AlreadyExists):
        await stub.CreateCollection(pb.CreateCollectionRequest(name="notes"))
    enter(RequestContext(tenant="bob"))
    for call in (
        stub.Search(pb.SearchRequest(collection="notes", text="hers")),
        stub.Upsert(pb.UpsertRequest(collection="notes", points=[pb.Point(id="1", text="his")])),
        stub.Delete(pb.DeleteRequest(collection="notes", ids=["1"])),
        stub.DescribeCollection(pb.DescribeCollectionRequest(collection="notes")),
        stub.DeleteCollection(pb.DeleteCollectionRequest(collection="notes")),
    ):
        with pytest.raises(NotFound) as raised:
            await call
        assert raised.value.field == "collection"
    await stub.DeleteCollection(pb.DeleteCollectionRequest(collection="notes", allow_missing=True))
    assert not (await stub.ListCollections(pb.ListCollectionsRequest())).collections
    await stub.CreateCollection(pb.CreateCollectionRequest(name="notes"))
    assert not (await stub.Search(pb.SearchRequest(collection="notes", text="hers"))).points
    await stub.DeleteCollection(pb.DeleteCollectionRequest(collection="notes"))
    enter(RequestContext(tenant="ada"))
    assert (await stub.DescribeCollection(pb.DescribeCollectionRequest(collection="notes"))).point_count == 1


async def test_a_collection_is_described_and_deleted(stub):
    request = pb.CreateCollectionRequest(name="v", space="clip/b32", dimensions=2, metric=pb.METRIC_DOT)
    created = await stub.CreateCollection(request)
    await stub.Upsert(pb.UpsertRequest(collection="v", points=[pb.Point(id="1", embedding=vector([1, 0]))]))
    described = await stub.DescribeCollection(pb.DescribeCollectionRequest(collection="v"))
    expected = pb.Collection(name="v", space="clip/b32", dimensions=2, metric=pb.METRIC_DOT)
    assert (described.collection, described.point_count) == (expected, 1)
    other = pb.DescribeCollectionRequest(collection="v", filter=struct(kind="other"))
    assert (await stub.DescribeCollection(other)).point_count == 0
    assert created.collection == expected
    await stub.DeleteCollection(pb.DeleteCollectionRequest(collection="v"))
    await rejected(stub.DescribeCollection(pb.DescribeCollectionRequest(collection="v")), "collection", NotFound)
    await rejected(stub.DeleteCollection(pb.DeleteCollectionRequest(collection="v")), "collection", NotFound)
    await stub.DeleteCollection(pb.DeleteCollectionRequest(collection="v", allow_missing=True))


async def test_collections_are_listed_in_pages(stub):
    names = [f"c{number:02}" for number in range(60)]
    for name in names:
        await stub.CreateCollection(pb.CreateCollectionRequest(name=name))
    pages, token = [], None
    while token != "":
        page = await stub.ListCollections(pb.ListCollectionsRequest(page_size=20, page_token=token or ""))
        pages.append([collection.name for collection in page.collections])
        token = page.next_page_token
    assert pages == [names[:20], names[20:40], names[40:]]
    assert len((await stub.ListCollections(pb.ListCollectionsRequest())).collections) == 50
    assert len((await stub.ListCollections(pb.ListCollectionsRequest(page_size=5000))).collections) == 60
    await rejected(stub.ListCollections(pb.ListCollectionsRequest(page_size=-1)), "page_size")
    await rejected(stub.ListCollections(pb.ListCollectionsRequest(page_token="a/b")), "page_token")


BAD_COLLECTIONS = (
    (pb.CreateCollectionRequest(name="a/b"), "name"),
    (pb.CreateCollectionRequest(name="x" * 65), "name"),
    (pb.CreateCollectionRequest(name="c", space="clip"), "dimensions"),
    (pb.CreateCollectionRequest(name="c", space="clip", dimensions=2001), "dimensions"),
    (pb.CreateCollectionRequest(name="c", space="clip", dimensions=-1), "dimensions"),
    (pb.CreateCollectionRequest(name="c", space="no\0pe", dimensions=2), "space"),
    (pb.CreateCollectionRequest(name="c", dimensions=7), "dimensions"),
    (pb.CreateCollectionRequest(name="c", metric=9), "metric"),
)


async def test_create_rejects_bad_collections(stub):
    for request, field in BAD_COLLECTIONS:
        await rejected(stub.CreateCollection(request), field)
    await rejected(stub.DescribeCollection(pb.DescribeCollectionRequest(collection="a/b")), "collection")
    await rejected(stub.DeleteCollection(pb.DeleteCollectionRequest(allow_missing=True)), "collection")


BAD_VECTORS = [
    (vector([1, float("nan")]), ""),
    (vector([1, float("inf")]), ""),
    (vector([0, 0]), ""),
    (vector([1e30, 1e30]), ""),
    (vector([1, 2, 3]), ".shape"),
    (vector([1, 2], shape=[1, 2]), ".shape"),
    (vector([1, 2, 3], shape=[2]), ".data"),
    (vector([1, 2], space="other"), ".space"),
    (Embedding(data=b"\1\2", dtype=Embedding.DTYPE_INT8, shape=[2]), ".dtype"),
    (Embedding(data=b"\1\2", shape=[2]), ".dtype"),
    (Embedding(dtype=Embedding.DTYPE_FLOAT32, shape=[2]), ".data"),
]


async def test_bad_vectors_are_rejected_by_field_and_nothing_is_written(stub):
    await stub.CreateCollection(pb.CreateCollectionRequest(name="v", space="clip", dimensions=2))
    for embedding, part in BAD_VECTORS:
        points = [pb.Point(id="good", embedding=vector([1, 2])), pb.Point(id="bad", embedding=embedding)]
        upsert = stub.Upsert(pb.UpsertRequest(collection="v", points=points))
        await rejected(upsert, f"points[1].embedding{part}")
        await rejected(stub.Search(pb.SearchRequest(collection="v", embedding=embedding)), f"embedding{part}")
    assert not (await stub.Search(pb.SearchRequest(collection="v", embedding=vector([1, 2])))).points


BAD_POINTS = (
    ([], "points"),
    ([pb.Point(text="a")], "points[0].id"),
    ([pb.Point(id="1", text="a"), pb.Point(id="1", text="b")], "points[1].id"),
    ([pb.Point(id="x" * 257, text="a")], "points[0].id"),
    ([pb.Point(id="a\0b", text="a")], "points[0].id"),
    ([pb.Point(id="1")], "points[0].text"),
    ([pb.Point(id="1", text="a\0b")], "points[0].text"),
    ([pb.Point(id="1", text="x" * 1_000_000)], "points[0].text"),
    ([pb.Point(id="1", text="a", metadata=struct(a=float("nan")))], "points[0].metadata"),
    ([pb.Point(id="1", text="a", metadata=struct(a=["b\0"]))], "points[0].metadata"),
    ([pb.Point(id=str(n), text="a") for n in range(1001)], "points"),
)


async def test_upsert_rejects_bad_points(stub):
    await stub.CreateCollection(pb.CreateCollectionRequest(name="docs"))
    for points, field in BAD_POINTS:
        await rejected(stub.Upsert(pb.UpsertRequest(collection="docs", points=points)), field)
    assert not (await stub.Search(pb.SearchRequest(collection="docs", text="a"))).points


async def replacing(collection, filters, *batches, count=None):
    """The messages of a call of ReplacePoints; an exception among them is raised."""
    if count is None:
        count = sum(len(batch) for batch in batches if isinstance(batch, list))
    config = pb.ReplacePointsConfig(collection=collection, filter=filters, point_count=count)
    yield pb.ReplacePointsRequest(config=config)
    for batch in batches:
        if isinstance(batch, Exception):
            raise batch
        yield pb.ReplacePointsRequest(batch=pb.PointBatch(points=batch))


def passages(text, start, count):
    return [pb.Point(id=str(n), text=f"{text} {n}", metadata=struct(file="a")) for n in range(start, start + count)]


@pytest.fixture(params=["memory", "postgresql"])
async def replaced(request, serve, settings, dial, database_url):
    """A stub of a service whose collection `docs` has 70 points of the file `a`."""
    if request.param == "postgresql":
        settings = settings.model_copy(update={"database_url": SecretStr(database_url)})
    server = await serve(settings.model_copy(update={"max_replacement_bytes": 1 << 20}), build)
    await until_health_is(server, health_pb2.HealthCheckResponse.SERVING)
    stub = RetrievalServiceStub(dial(server, NAME))
    await stub.CreateCollection(pb.CreateCollectionRequest(name="docs"))
    await stub.Upsert(pb.UpsertRequest(collection="docs", points=passages("old", 0, 70)))
    return stub


async def found(stub, text):
    """How many points of `docs` have a text that begins with this word."""
    answer = await stub.Search(pb.SearchRequest(collection="docs", text=text, limit=1000))
    return sum(hit.point.text.startswith(text) for hit in answer.points)


async def test_points_are_replaced_by_those_of_a_stream(replaced):
    batches = [passages("new", 0, 30), passages("new", 30, 30)]
    answer = await replaced.ReplacePoints(replacing("docs", struct(file="a"), *batches))
    assert (answer.deleted_count, answer.written_count) == (70, 60)
    assert (await found(replaced, "old"), await found(replaced, "new")) == (0, 60)


async def test_points_are_replaced_over_tls(serve, settings, tmp_path):
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    tls = {name: tmp_path / f"{name}.pem" for name in ("tls_certificate_file", "tls_key_file", "tls_ca_file")}
    issued.private_key_pem.write_to_path(str(tls["tls_key_file"]))
    issued.cert_chain_pems[0].write_to_path(str(tls["tls_certificate_file"]))
    authority.cert_pem.write_to_path(str(tls["tls_ca_file"]))
    settings = settings.model_copy(update={**tls, "health_port": 0})
    server = await serve(settings, build)
    channel = connect(f"127.0.0.1:{server.port}", "polyphony.retrieval.v1", settings)
    stub = RetrievalServiceStub(channel)
    await stub.CreateCollection(pb.CreateCollectionRequest(name="docs"))
    answer = await stub.ReplacePoints(replacing("docs", struct(file="a"), passages("new", 0, 3)))
    assert answer.written_count == 3
    await channel.close()


BAD_REPLACEMENTS = (
    (struct(), [], "config.filter", InvalidArgument),
    (struct(a=float("nan")), [], "config.filter", InvalidArgument),
    (struct(file="a"), [[]], "batch.points", InvalidArgument),
    (struct(file="a"), [[pb.Point(text="no id")]], "batch.points[0].id", InvalidArgument),
    (struct(file="a"), [passages("new", 0, 30), passages("new", 29, 2)], "batch.points[0].id", InvalidArgument),
    (struct(file="a"), [passages("new", 0, 30), [pb.Point(id="x")]], "batch.points[0].text", InvalidArgument),
    (struct(file="a"), [passages("new", 0, 1001)], "batch.points", TooLarge),
    (struct(file="a"), [passages("new", start, 100) for start in range(0, 1000, 100)], "batch.points", TooLarge),
    (struct(file="a"), [passages("new", 0, 30), DeadlineExceeded("the caller fails")], "", DeadlineExceeded),
)


async def test_a_replacement_that_fails_keeps_the_old_points(replaced):
    for count, least in ((31, 30), (29, 30), (0, 30), (-1, 0), (100_001, 0)):
        cut_off = replacing("docs", struct(file="a"), passages("new", 0, least), count=count)
        await rejected(replaced.ReplacePoints(cut_off), "config.point_count")
    for filters, batches, field, error in BAD_REPLACEMENTS:
        await rejected(replaced.ReplacePoints(replacing("docs", filters, *batches)), field, error)

    async def headless():
        yield pb.ReplacePointsRequest(batch=pb.PointBatch(points=passages("new", 0, 1)))

    await rejected(replaced.ReplacePoints(headless()), "config")
    await rejected(replaced.ReplacePoints(replacing("none", struct(file="a"))), "collection", NotFound)
    await rejected(replaced.ReplacePoints(replacing("a/b", struct(file="a"))), "collection")
    await rejected(replaced.ReplacePoints(replacing("", struct(file="a"))), "config.collection")
    assert (await found(replaced, "old"), await found(replaced, "new")) == (70, 0)
    # No failed call holds memory: one that needs most of it succeeds.
    answer = await replaced.ReplacePoints(replacing("docs", struct(file="a"), passages("new", 0, 350)))
    assert answer.written_count == 350


async def test_replacements_share_a_bound_on_memory(replaced):
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def waiting():
        async for message in replacing("docs", struct(file="a"), passages("new", 0, 250)):
            yield message
        arrived.set()
        await leave.wait()

    first = asyncio.create_task(replaced.ReplacePoints(waiting()))
    await arrived.wait()
    refused = None
    while refused is None:  # until the first call has its share
        second = replacing("docs", struct(file="b"), passages("more", 500, 250))
        try:
            await replaced.ReplacePoints(second)
        except Overloaded as error:
            refused = error
    assert refused.retry_after
    leave.set()
    assert (await first).written_count == 250


async def test_a_cancelled_replacement_keeps_the_old_points(replaced):
    async def endless():
        async for message in replacing("docs", struct(file="a"), passages("new", 0, 200), count=250):
            yield message
        await asyncio.Event().wait()

    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.5)))

    with pytest.raises(DeadlineExceeded):
        await replaced.ReplacePoints(endless())
    enter(RequestContext())
    assert (await found(replaced, "old"), await found(replaced, "new")) == (70, 0)


BAD_QUERIES = (
    (pb.SearchRequest(collection="docs"), "query"),
    (pb.SearchRequest(collection="docs", text=""), "text"),
    (pb.SearchRequest(collection="docs", text="a", limit=1001), "limit"),
    (pb.SearchRequest(collection="docs", text="a", limit=-1), "limit"),
    (pb.SearchRequest(collection="docs", text="a", min_score=float("nan")), "min_score"),
    (pb.SearchRequest(collection="docs", text="a", filter=struct(a="\0")), "filter"),
    (pb.SearchRequest(collection="a\0b", text="a"), "collection"),
    (pb.DeleteRequest(collection="docs"), "ids"),
    (pb.DeleteRequest(collection="docs", filter=Struct()), "ids"),
    (pb.DeleteRequest(collection="docs", ids=["1"], filter=struct(a=1)), "ids"),
    (pb.DeleteRequest(collection="docs", ids=["\0"]), "ids[0]"),
)


async def test_search_and_delete_reject_bad_requests(stub):
    await stub.CreateCollection(pb.CreateCollectionRequest(name="docs"))
    for request, field in BAD_QUERIES:
        method = stub.Search if isinstance(request, pb.SearchRequest) else stub.Delete
        await rejected(method(request), field)


async def test_embed_fails_after_its_deadline(stub):
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.001)))
    with pytest.raises(DeadlineExceeded):
        await stub.Embed(pb.EmbedRequest(inputs=texts(*["a b c"] * 2000)))


@pytest.fixture
async def postgres_server(serve, settings, database_url):
    server = await serve(settings.model_copy(update={"database_url": SecretStr(database_url)}), build)
    await until_health_is(server, health_pb2.HealthCheckResponse.SERVING)
    return server


async def test_a_deleted_collection_leaves_no_table_in_postgres(postgres_server, dial, database_url):
    stub = RetrievalServiceStub(dial(postgres_server, NAME))

    def tables():
        with psycopg.connect(database_url) as connection:
            return connection.execute(
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'retrieval'::regnamespace"
            ).fetchone()

    before = await asyncio.to_thread(tables)
    for name in ("a", "b"):
        await stub.CreateCollection(pb.CreateCollectionRequest(name=name))
        await stub.Upsert(pb.UpsertRequest(collection=name, points=[pb.Point(id="1", text="a b c")]))
    assert await asyncio.to_thread(tables) > before
    for name in ("a", "b"):
        await stub.DeleteCollection(pb.DeleteCollectionRequest(collection=name))
    assert await asyncio.to_thread(tables) == before


async def test_without_a_database_url_the_service_embeds_and_stores_nothing(serve, settings, dial):
    server = await serve(settings.model_copy(update={"database_url": SecretStr("")}), build)
    await until_health_is(server, health_pb2.HealthCheckResponse.SERVING)
    stub = RetrievalServiceStub(dial(server, NAME))
    assert (await stub.Embed(pb.EmbedRequest(inputs=texts("a b")))).tokens == 2
    for call in (
        stub.CreateCollection(pb.CreateCollectionRequest(name="docs")),
        stub.ListCollections(pb.ListCollectionsRequest()),
        stub.Search(pb.SearchRequest(collection="docs", text="a")),
    ):
        with pytest.raises(FailedPrecondition, match="database_url is empty"):
            await call


async def test_without_its_database_the_service_is_not_ready_and_still_embeds(postgres, postgres_server, dial):
    server, stub = postgres_server, RetrievalServiceStub(dial(postgres_server, NAME))
    await stub.CreateCollection(pb.CreateCollectionRequest(name="docs"))
    await asyncio.to_thread(postgres.stop)
    try:
        await until_health_is(server, health_pb2.HealthCheckResponse.NOT_SERVING)
        began = time.monotonic()
        enter(RequestContext(cancellation=CancellationToken(began + 1.0)))
        with pytest.raises((Unavailable, DeadlineExceeded)):  # retried by the client until its deadline
            await stub.Search(pb.SearchRequest(collection="docs", text="a"))
        enter(RequestContext())
        assert (await stub.Embed(pb.EmbedRequest(inputs=texts("still")))).tokens == 1
    finally:
        await asyncio.to_thread(postgres.start)
    await until_health_is(server, health_pb2.HealthCheckResponse.SERVING)
    assert not (await stub.Search(pb.SearchRequest(collection="docs", text="a"))).points


async def test_triton_clients_can_infer(server):
    def infer():
        client = InferenceServerClient(f"127.0.0.1:{server.port}")
        assert client.is_server_live()
        assert client.is_model_ready("fake-embedder")
        metadata = client.get_model_metadata("fake-embedder")
        assert [(t.name, t.datatype) for t in metadata.inputs] == [("input_ids", "INT64"), ("attention_mask", "INT64")]
        inputs = [InferInput(name, [2, 5], "INT64") for name in ("input_ids", "attention_mask")]
        for tensor in inputs:
            tensor.set_data_from_numpy(np.ones((2, 5), np.int64))
        answer = client.infer("fake-embedder", inputs).as_numpy("embedding")
        client.close()
        return answer

    assert (await asyncio.to_thread(infer)).shape == (2, 384)
