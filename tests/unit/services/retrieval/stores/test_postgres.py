import asyncio

import numpy as np
import psycopg
import pytest

from servekit.rpc.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from services.retrieval.stores.database import MIGRATIONS, Database
from services.retrieval.stores.postgres import Metric, Point, Store


async def ready(database: Database, *, is_ready: bool = True, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while database.ready is not is_ready:  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.02)


@pytest.fixture
async def database(database_url):
    database = Database(database_url, 4)
    await database.start()
    await ready(database)
    yield database
    await database.stop()


@pytest.fixture
async def store(database):
    store = Store(database)
    yield store
    await store.stop()


async def indexed(store: Store, tenant: str, name: str):
    """The collection, once its index is built."""
    async with asyncio.timeout(30):
        while not (collection := await store.get(tenant, name)).indexed:  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.02)
    return collection


def points(count: int, dimensions: int, seed: int = 0):
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return [Point(f"p{n}", f"text {n}", {"parity": n % 2, "n": n}) for n in range(count)], vectors


def exact(metric: Metric, vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Scores by their definition, in float64."""
    v, q = vectors.astype(np.float64), query.astype(np.float64)
    match metric:
        case Metric.COSINE:
            return v @ q / np.linalg.norm(v, axis=1) / np.linalg.norm(q)
        case Metric.DOT:
            return v @ q
        case Metric.EUCLIDEAN:
            return -np.linalg.norm(v - q, axis=1)


@pytest.mark.parametrize("metric", list(Metric))
async def test_a_small_collection_is_searched_exactly(store, metric):
    collection = await store.create("ada", "small", "space", 16, metric)
    rows, vectors = points(300, 16)
    await store.upsert(collection, rows, vectors)
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)
    found = await store.search(collection, query, 20, {})
    scores = exact(metric, vectors, query)
    assert [point.id for point, _ in found] == [f"p{n}" for n in np.argsort(-scores)[:20]]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:20], atol=1e-5)


@pytest.mark.parametrize("metric", list(Metric))
async def test_a_large_collection_gets_an_index_and_is_searched_through_it(database, metric):
    store = Store(database, indexed_from=2000)
    collection = await store.create("ada", "large", "space", 32, metric)
    rows, vectors = points(3000, 32)
    for start in range(0, 3000, 1000):
        await store.upsert(collection, rows[start : start + 1000], vectors[start : start + 1000])
    collection = await indexed(store, "ada", "large")
    hits = 0
    for seed in range(20):
        query = np.random.default_rng(100 + seed).normal(size=32).astype(np.float32)
        best = {f"p{n}" for n in np.argsort(-exact(metric, vectors, query))[:10]}
        hits += len(best & {point.id for point, _ in await store.search(collection, query, 10, {})})
    assert hits / 200 >= 0.95
    # More than the index looks at first, and a filter that leaves one in a thousand.
    assert len(await store.search(collection, vectors[0], 1000, {})) == 1000
    filtered = await store.search(collection, vectors[0], 10, {"n": 2999})
    assert [point.id for point, _ in filtered] == ["p2999"]


async def test_replicas_that_cross_the_threshold_together_build_one_index(database):
    replicas = [Store(database, indexed_from=500) for _ in range(4)]
    store = replicas[0]
    collection = await store.create("ada", "raced", "space", 8, Metric.COSINE)
    rows, vectors = points(1200, 8)
    parts = [slice(n * 300, (n + 1) * 300) for n in range(4)]
    writes = (
        replica.upsert(collection, rows[part], vectors[part]) for replica, part in zip(replicas, parts, strict=True)
    )
    await asyncio.gather(*writes)
    await indexed(store, "ada", "raced")
    async with database.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
        assert await cursor.fetchone() == (1,)
        cursor = await connection.execute(f"SELECT count(*) FROM retrieval.points_{collection.key}")
        assert await cursor.fetchone() == (1200,)


async def test_upsert_replaces(store):
    collection = await store.create("ada", "docs", "space", 2, Metric.COSINE)
    await store.upsert(collection, [Point("a", "old", {"v": 1})], np.array([[1, 0]], np.float32))
    await store.upsert(collection, [Point("a", "new", {"v": 2})], np.array([[0, 1]], np.float32))
    [(point, score)] = await store.search(collection, np.array([0, 1], np.float32), 10, {})
    assert (point, score) == (Point("a", "new", {"v": 2}), 1.0)


async def test_upsert_writes_all_or_nothing(store):
    collection = await store.create("ada", "docs", "space", 2, Metric.COSINE)
    rows = [Point("a", "fine", {}), Point("b", "not\0fine", {})]
    with pytest.raises(psycopg.DataError):
        await store.upsert(collection, rows, np.ones((2, 2), np.float32))
    assert await store.search(collection, np.ones(2, np.float32), 10, {}) == []


async def test_filters_contain(store):
    collection = await store.create("ada", "docs", "space", 2, Metric.COSINE)
    rows = [
        Point("a", "", {"lang": "en", "page": 1, "author": {"name": "Ada", "age": 36}}),
        Point("b", "", {"lang": "en", "page": 2, "tags": ["x", "y"]}),
        Point("c", "", {"lang": "de", "page": 1}),
    ]
    await store.upsert(collection, rows, np.ones((3, 2), np.float32))

    async def ids(where):
        return {point.id for point, _ in await store.search(collection, np.ones(2, np.float32), 10, where)}

    assert await ids({"lang": "en"}) == {"a", "b"}
    assert await ids({"lang": "en", "page": 1.0}) == {"a"}
    assert await ids({"author": {"name": "Ada"}}) == {"a"}
    assert await ids({"tags": ["y"]}) == {"b"}
    assert await ids({"lang": "fr"}) == set()
    assert await store.delete(collection, [], {"lang": "en"}) == 2
    assert await store.delete(collection, ["c", "unknown"], {}) == 1


async def test_a_collection_belongs_to_its_tenant(store):
    ada = await store.create("ada", "docs", "space", 2, Metric.COSINE)
    with pytest.raises(AlreadyExists) as raised:
        await store.create("ada", "docs", "space", 2, Metric.COSINE)
    assert raised.value.field == "name"
    with pytest.raises(NotFound):
        await store.get("bob", "docs")
    bob = await store.create("bob", "docs", "other", 3, Metric.DOT)
    await store.upsert(ada, [Point("a", "hers", {})], np.ones((1, 2), np.float32))
    assert await store.search(bob, np.ones(3, np.float32), 10, {}) == []
    assert await store.get("bob", "docs") == bob


async def test_many_callers_share_few_connections(store):
    collection = await store.create("ada", "docs", "space", 8, Metric.COSINE)
    rows, vectors = points(100, 8)
    await store.upsert(collection, rows, vectors)
    found = await asyncio.gather(*(store.search(collection, vector, 1, {}) for vector in vectors))
    assert [hits[0][0].id for hits in found] == [row.id for row in rows]


async def test_replicas_that_start_together_make_the_schema_once(database_url):
    databases = [Database(database_url, 1) for _ in range(6)]
    for database in databases:
        await database.start()
    await asyncio.gather(*(ready(database) for database in databases))
    async with databases[0].connection() as connection:
        cursor = await connection.execute("SELECT version FROM retrieval.migrations")
        assert await cursor.fetchall() == [(n,) for n in range(len(MIGRATIONS))]
    for database in databases:
        await database.stop()


async def test_a_database_that_goes_and_comes_back(postgres, database_url):
    database = Database(database_url, 4)
    store = Store(database)
    await database.start()
    await ready(database)
    try:
        collection = await store.create("ada", "docs", "space", 2, Metric.COSINE)
        await store.upsert(collection, [Point("a", "kept", {})], np.ones((1, 2), np.float32))
        await asyncio.to_thread(postgres.stop)
        try:
            with pytest.raises(Unavailable) as raised:
                await asyncio.wait_for(store.get("ada", "docs"), 3)
            assert raised.value.retry_after
            await ready(database, is_ready=False)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(store.get("ada", "docs"), 0.1)
        finally:
            await asyncio.to_thread(postgres.start)
        await ready(database)
        [(point, _)] = await store.search(collection, np.ones(2, np.float32), 10, {})
        assert point.text == "kept"
    finally:
        await database.stop()


async def test_a_service_may_do_without_a_database():
    database = Database("", 4)
    await database.start()
    assert database.ready
    with pytest.raises(FailedPrecondition):
        await Store(database).get("ada", "docs")
    await database.stop()
