import asyncio
from typing import LiteralString

import numpy as np
import psycopg
import pytest

from servekit.database.pool import DatabasePool
from servekit.errors import DeadlineExceeded, NotFound, Unavailable
from services.retrieval.stores import Metric, Point, postgres_tables
from services.retrieval.stores.postgres import PostgresStore
from services.retrieval.stores.postgres_schema import SCHEMA, open_pool
from services.retrieval.stores.postgres_tables import drop_orphans, sweep
from tests.watching import until

from .reference import exact_scores, example_points


async def until_ready(pool: DatabasePool, *, ready: bool = True) -> None:
    await until(lambda: pool.ready is ready)


@pytest.fixture
async def pool(database_url):
    pool = open_pool(database_url, 4)
    await pool.start()
    await until_ready(pool)
    yield pool
    await pool.stop()


@pytest.fixture
async def store(pool):
    store = PostgresStore(pool)
    yield store
    await store.stop()


async def until_indexed(store: PostgresStore, tenant: str, name: str):
    """The collection, once its index is built."""
    async with asyncio.timeout(30):
        while not (collection := await store.get_collection(tenant, name)).indexed:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return collection


@pytest.mark.parametrize("metric", list(Metric))
async def test_a_large_collection_gets_an_index_and_is_searched_through_it(pool, metric):
    store = PostgresStore(pool, indexed_from=2000)
    collection = await store.create_collection("ada", "large", "space", 32, metric)
    rows, vectors = example_points(3000, 32)
    for start in range(0, 3000, 1000):
        await store.upsert_points(collection, rows[start : start + 1000], vectors[start : start + 1000])
    collection = await until_indexed(store, "ada", "large")
    hits = 0
    for seed in range(20):
        query = np.random.default_rng(100 + seed).normal(size=32).astype(np.float32)
        best = {f"p{n}" for n in np.argsort(-exact_scores(metric, vectors, query))[:10]}
        hits += len(best & {point.id for point, _ in await store.search_points(collection, query, 10, {})})
    assert hits / 200 >= 0.95
    # More than the index looks at first, and a filter that leaves one in a thousand.
    assert len(await store.search_points(collection, vectors[0], 1000, {})) == 1000
    filtered = await store.search_points(collection, vectors[0], 10, {"n": 2999})
    assert [point.id for point, _ in filtered] == ["p2999"]


async def test_replicas_that_cross_the_threshold_together_build_one_index(pool):
    replicas = [PostgresStore(pool, indexed_from=500) for _ in range(4)]
    store = replicas[0]
    collection = await store.create_collection("ada", "raced", "space", 8, Metric.COSINE)
    rows, vectors = example_points(1200, 8)
    parts = [slice(n * 300, (n + 1) * 300) for n in range(4)]
    writes = (
        replica.upsert_points(collection, rows[part], vectors[part])
        for replica, part in zip(replicas, parts, strict=True)
    )
    await asyncio.gather(*writes)
    await until_indexed(store, "ada", "raced")
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%hnsw%'")
        assert await cursor.fetchone() == (1,)
        cursor = await connection.execute(f"SELECT count(*) FROM retrieval.points_{collection.key}")
        assert await cursor.fetchone() == (1200,)


async def test_upsert_writes_all_or_nothing(store):
    collection = await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
    rows = [Point("a", "fine", {}), Point("b", "not\0fine", {})]
    with pytest.raises(psycopg.DataError):
        await store.upsert_points(collection, rows, np.ones((2, 2), np.float32))
    assert await store.search_points(collection, np.ones(2, np.float32), 10, {}) == []


async def test_replicas_that_start_together_make_the_schema_once(database_url):
    pools = [open_pool(database_url, 1) for _ in range(6)]
    for pool in pools:
        await pool.start()
    await asyncio.gather(*(until_ready(pool) for pool in pools))
    async with pools[0].connection() as connection:
        cursor = await connection.execute("SELECT version FROM retrieval.migrations")
        assert await cursor.fetchall() == [(n,) for n in range(len(SCHEMA.migrations))]
    for pool in pools:
        await pool.stop()


async def test_a_database_that_goes_and_comes_back(postgres, database_url):
    pool = open_pool(database_url, 4)
    store = PostgresStore(pool)
    await store.start()
    await until_ready(pool)
    try:
        collection = await store.create_collection("ada", "docs", "space", 2, Metric.COSINE)
        await store.upsert_points(collection, [Point("a", "kept", {})], np.ones((1, 2), np.float32))
        await asyncio.to_thread(postgres.stop)
        try:
            with pytest.raises(Unavailable) as raised:
                await asyncio.wait_for(store.get_collection("ada", "docs"), 3)
            assert raised.value.retry_after
            await until_ready(pool, ready=False)
            with pytest.raises(Unavailable):
                await asyncio.wait_for(store.get_collection("ada", "docs"), 0.1)
        finally:
            await asyncio.to_thread(postgres.start)
        await until_ready(pool)
        [(point, _)] = await store.search_points(collection, np.ones(2, np.float32), 10, {})
        assert point.text == "kept"
    finally:
        await store.stop()


async def tables_and_indexes(pool: DatabasePool) -> int:
    """How many relations the schema has."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'retrieval'::regnamespace AND relkind IN ('r', 'i')"
        )
        (count,) = await cursor.fetchone()
    return count


async def test_a_deleted_collection_leaves_no_table_and_no_index(pool):
    store = PostgresStore(pool, indexed_from=500)
    before = await tables_and_indexes(pool)
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    rows, vectors = example_points(500, 8)
    await store.upsert_points(collection, rows, vectors)
    await until_indexed(store, "ada", "docs")
    assert await tables_and_indexes(pool) == before + 4  # the table, its primary key, its GIN and its HNSW index
    await store.delete_collection("ada", "docs")
    assert await tables_and_indexes(pool) == before


async def test_a_collection_may_be_deleted_while_its_index_is_built(pool):
    store = PostgresStore(pool, indexed_from=2000)
    before = await tables_and_indexes(pool)
    collection = await store.create_collection("ada", "docs", "space", 128, Metric.COSINE)
    rows, vectors = example_points(4000, 128)
    await store.upsert_points(collection, rows, vectors)
    await store.delete_collection("ada", "docs")
    assert await tables_and_indexes(pool) == before


async def rows_of(pool: DatabasePool, view: LiteralString) -> int:
    """How many rows a view has now; within one transaction it would not change."""
    async with pool.connection() as connection:
        return (await connection.execute(f"SELECT FROM {view}")).rowcount


async def test_a_collection_may_be_deleted_while_another_replica_builds_its_index(pool):
    store = PostgresStore(pool)
    before = await tables_and_indexes(pool)
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    await store.upsert_points(collection, *example_points(2, 8))
    async with pool.connection() as connection:
        await connection.execute(
            "CREATE FUNCTION retrieval.slow(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS "
            "$$ BEGIN PERFORM pg_sleep(600); RETURN $1; END $$"
        )

    async def build():
        async with pool.connection() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(f"CREATE INDEX ON retrieval.points_{collection.key} (retrieval.slow(id))")

    building = asyncio.create_task(build())
    async with asyncio.timeout(15):
        while not await rows_of(pool, "pg_stat_progress_create_index"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        await store.delete_collection("ada", "docs")
    with pytest.raises(DeadlineExceeded):  # cancelled
        await building
    assert await tables_and_indexes(pool) == before


async def test_the_table_of_a_deleted_collection_that_is_in_use_is_dropped_later(pool, monkeypatch):
    monkeypatch.setattr(postgres_tables, "DROP_ATTEMPTS", 1)
    store = PostgresStore(pool)
    before = await tables_and_indexes(pool)
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    kept = await store.create_collection("ada", "kept", "space", 8, Metric.COSINE)
    async with pool.connection() as reader:
        await reader.execute(f"SELECT count(*) FROM retrieval.points_{collection.key}")
        await store.delete_collection("ada", "docs")
        with pytest.raises(NotFound):
            await store.get_collection("ada", "docs")
        assert await drop_orphans(pool) == 0
        with pytest.raises(NotFound):  # written to a table that is about to go
            await store.replace_points(collection, {"n": 1}, [example_points(3, 8)])
    assert await drop_orphans(pool) == 1
    assert await store.count_points(kept, {}) == 0
    await store.delete_collection("ada", "kept")
    assert await tables_and_indexes(pool) == before


async def test_a_store_that_starts_drops_the_tables_that_a_crash_left(pool, database_url):
    store = PostgresStore(pool)
    before = await tables_and_indexes(pool)
    await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    async with pool.connection() as connection:  # what a kill between the row and the table leaves
        await connection.execute("DELETE FROM retrieval.collections")
    restarted = PostgresStore(open_pool(database_url, 2))
    await restarted.start()
    async with asyncio.timeout(15):
        while await tables_and_indexes(pool) != before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await restarted.stop()


async def test_the_sweep_goes_on_after_an_error_of_the_database(pool, monkeypatch, caplog):
    monkeypatch.setattr(postgres_tables, "SWEEP_SECONDS", 0.01)
    store = PostgresStore(pool)
    before = await tables_and_indexes(pool)
    await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    async with pool.connection() as connection:
        await connection.execute("DELETE FROM retrieval.collections")
        await connection.execute("ALTER TABLE retrieval.collections RENAME TO hidden")
    sweeping = asyncio.create_task(sweep(pool))
    async with asyncio.timeout(15):
        while "cannot look for tables" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        async with pool.connection() as connection:
            await connection.execute("ALTER TABLE retrieval.hidden RENAME TO collections")
        while await tables_and_indexes(pool) != before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    sweeping.cancel()
    await asyncio.wait([sweeping])


async def test_a_full_disk_during_a_replacement_loses_no_point(pool):
    store = PostgresStore(pool)
    collection = await store.create_collection("ada", "docs", "space", 8, Metric.COSINE)
    rows, vectors = example_points(300, 8)
    await store.upsert_points(collection, rows, vectors)
    async with pool.connection() as connection:
        await connection.execute(
            "CREATE FUNCTION retrieval.fill_disk() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        await connection.execute(
            f"CREATE TRIGGER full_disk BEFORE INSERT ON retrieval.points_{collection.key} FOR EACH ROW "
            "WHEN (new.id = 'p250') EXECUTE FUNCTION retrieval.fill_disk()"
        )
    new = [Point(row.id, "new", row.metadata) for row in rows]
    batches = [(new[start : start + 100], vectors[start : start + 100]) for start in range(0, 300, 100)]
    with pytest.raises(Unavailable, match="no space left"):
        await store.replace_points(collection, {"parity": 0}, batches)
    assert await store.count_points(collection, {}) == 300
    [(point, _)] = await store.search_points(collection, vectors[7], 1, {})
    assert point.text == "text 7"


async def test_replicas_that_delete_a_collection_together_delete_it_once(pool):
    replicas = [PostgresStore(pool) for _ in range(4)]
    await replicas[0].create_collection("ada", "docs", "space", 8, Metric.COSINE)
    deletions = (replica.delete_collection("ada", "docs") for replica in replicas)
    outcomes = await asyncio.gather(*deletions, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome] == [NotFound] * 3
