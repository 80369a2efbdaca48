"""The vector stores, in memory and in Postgres."""

import asyncio

import numpy as np
import pytest

from servekit.errors import AlreadyExists, FailedPrecondition, NotFound
from services.retrieval.stores import Metric, Point, open_store
from tests.watching import until

from .reference import exact_scores, example_points


@pytest.fixture(params=["memory", "postgresql"])
async def store(request):
    url = "memory:" if request.param == "memory" else request.getfixturevalue("database_url")
    store = open_store(url, 4)
    await store.start()
    await until(lambda: store.ready)
    yield store
    await store.stop()


@pytest.mark.parametrize("metric", list(Metric))
async def test_a_small_collection_is_searched_exactly(store, metric):
    collection = await store.create_collection("ada", "small", "space", 16, metric)
    rows, vectors = example_points(300, 16)
    await store.upsert_points(collection, rows, vectors)
    query = np.random.default_rng(1).normal(size=16).astype(np.float32)
    found = await store.search_points(collection, query, 20, {})
    scores = exact_scores(metric, vectors, query)
    assert [point.id for point, _ in found] == [f"p{n}" for n in np.argsort(-scores)[:20]]
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:20], atol=1e-5)


async def test_upsert_replaces(store):
    collection = await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
    await store.upsert_points(collection, [Point("a", "old", {"v": 1})], np.array([[1, 0]], np.float32))
    await store.upsert_points(collection, [Point("a", "new", {"v": 2})], np.array([[0, 1]], np.float32))
    [(point, score)] = await store.search_points(collection, np.array([0, 1], np.float32), 10, {})
    assert (point, score) == (Point("a", "new", {"v": 2}), 1.0)


async def test_filters_contain(store):
    collection = await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
    rows = [
        Point("a", "", {"lang": "en", "page": 1, "author": {"name": "Ada", "age": 36}}),
        Point("b", "", {"lang": "en", "page": 2, "tags": ["x", "y"]}),
        Point("c", "", {"lang": "de", "page": 1}),
    ]
    await store.upsert_points(collection, rows, np.ones((3, 2), np.float32))

    async def ids(where):
        return {point.id for point, _ in await store.search_points(collection, np.ones(2, np.float32), 10, where)}

    assert await ids({"lang": "en"}) == {"a", "b"}
    assert await ids({"lang": "en", "page": 1.0}) == {"a"}
    assert await ids({"author": {"name": "Ada"}}) == {"a"}
    assert await ids({"tags": ["y"]}) == {"b"}
    assert await ids({"tags": ["y", "z"]}) == set()
    assert await ids({"tags": "y"}) == set()
    assert await ids({"page": True}) == set()
    assert await ids({"lang": "fr"}) == set()
    assert await store.delete_points(collection, [], {"lang": "en"}) == 2
    assert await store.delete_points(collection, ["c", "unknown"], {}) == 1


async def test_a_collection_belongs_to_its_tenant(store):
    ada = await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
    with pytest.raises(AlreadyExists) as raised:
        await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
    assert raised.value.field == "name"
    with pytest.raises(NotFound):
        await store.get_collection("bob", "docs")
    bob = await store.create_collection("bob", "docs", "other", 3, Metric.DOT)
    await store.upsert_points(ada, [Point("a", "hers", {})], np.ones((1, 2), np.float32))
    assert await store.search_points(bob, np.ones(3, np.float32), 10, {}) == []
    assert await store.get_collection("bob", "docs") == bob


async def test_many_callers_search_at_once(store):
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    rows, vectors = example_points(100, 8)
    await store.upsert_points(collection, rows, vectors)
    found = await asyncio.gather(*(store.search_points(collection, vector, 1, {}) for vector in vectors))
    assert [hits[0][0].id for hits in found] == [row.id for row in rows]


async def test_collections_are_listed_by_name_from_behind_a_name(store):
    for name in ("b", "a", "C", "d-1"):
        await store.create_collection("ada", name, "space", 2, Metric.COSINE)
    await store.create_collection("bob", "his", "space", 2, Metric.DOT)

    async def names(tenant, after, limit):
        return [collection.name for collection in await store.list_collections(tenant, after, limit)]

    assert await names("ada", "", 10) == ["C", "a", "b", "d-1"]
    assert await names("ada", "a", 1) == ["b"]
    assert await names("ada", "d-1", 10) == []
    assert await names("bob", "", 10) == ["his"]
    assert await store.list_collections("bob", "", 1) == [await store.get_collection("bob", "his")]


async def test_points_are_counted(store):
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    assert await store.count_points(collection, {}) == 0
    await store.upsert_points(collection, *example_points(30, 8))
    await store.upsert_points(collection, *example_points(20, 8))
    assert await store.count_points(collection, {}) == 30
    await store.upsert_points(collection, *document("a", 3, "text")[0])
    for metadata, count in (({}, 33), ({"file": "a"}, 3), ({"file": "b"}, 0)):
        assert await store.count_points(collection, metadata) == count
    assert await store.search_points(collection, np.ones(8, np.float32), 0, {}) == []


async def texts(store, collection):
    return {
        point.id: point.text for point, _ in await store.search_points(collection, np.ones(8, np.float32), 1000, {})
    }


def document(file, count, text):
    """The points of a file, in batches of 10."""
    points, vectors = example_points(count, 8)
    points = [Point(f"{file}-{n}", text, {"file": file}) for n in range(len(points))]
    return [(points[start : start + 10], vectors[start : start + 10]) for start in range(0, count, 10)]


async def test_replace_points_deletes_the_points_that_match_the_filter(store):
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    for points, vectors in [*document("a", 35, "old"), *document("b", 3, "kept")]:
        await store.upsert_points(collection, points, vectors)
    assert await store.replace_points(collection, {"file": "a"}, document("a", 12, "new")) == 35
    kept = {f"b-{n}": "kept" for n in range(3)}
    assert await texts(store, collection) == {f"a-{n}": "new" for n in range(12)} | kept
    assert await store.replace_points(collection, {"file": "c"}, document("c", 1, "first")) == 0
    assert await store.replace_points(collection, {"file": "a"}, []) == 12
    assert await texts(store, collection) == kept | {"c-0": "first"}
    [(points, vectors)] = document("b", 1, "taken over")
    assert await store.replace_points(collection, {"file": "d"}, [(points, vectors)]) == 0
    assert (await texts(store, collection))["b-0"] == "taken over"


async def test_a_replacement_that_fails_changes_nothing(store):
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    for points, vectors in document("a", 30, "old"):
        await store.upsert_points(collection, points, vectors)
    *most, (points, vectors) = document("a", 50, "new")
    with pytest.raises(ValueError, match="shorter"):
        await store.replace_points(collection, {"file": "a"}, [*most, (points, vectors[:-1])])
    assert await texts(store, collection) == {f"a-{n}": "old" for n in range(30)}


async def test_replacements_of_the_same_points_run_one_after_another(store):
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    counts = (40, 7, 23, 1)
    await asyncio.gather(
        *(store.replace_points(collection, {"file": "a"}, document("a", n, f"of {n}")) for n in counts)
    )
    assert await texts(store, collection) in [{f"a-{m}": f"of {n}" for m in range(n)} for n in counts]


async def test_a_handle_to_a_deleted_collection_is_not_found(store):
    old = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    rows, vectors = example_points(3, 8)
    await store.upsert_points(old, rows, vectors)
    with pytest.raises(NotFound):
        await store.delete_collection("bob", "docs")
    await store.delete_collection("ada", "docs")
    for call in (
        store.get_collection("ada", "docs"),
        store.delete_collection("ada", "docs"),
        store.count_points(old, {}),
        store.upsert_points(old, rows, vectors),
        store.replace_points(old, {"parity": 1}, [(rows, vectors)]),
        store.search_points(old, vectors[0], 1, {}),
        store.delete_points(old, ["p0"], {}),
    ):
        with pytest.raises(NotFound) as raised:
            await call
        assert (raised.value.field, raised.value.message) == ("collection", "no collection named 'docs'")
    new = await store.create_collection("ada", "docs", "space", 4, Metric.DOT)
    assert new.key != old.key
    assert await store.count_points(new, {}) == 0


def test_a_url_chooses_the_store():
    assert open_store("", 4) is None
    with pytest.raises(FailedPrecondition) as raised:
        open_store("mysql://user:secret@host/database", 4)
    assert "memory:, postgresql:" in raised.value.message
    assert "secret" not in raised.value.message
