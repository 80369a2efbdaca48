"""Collections in Postgres with pgvector.

Each collection has its own table, whose column has its dimensions and whose index has its metric. It is
searched exactly while small, from `INDEXED_FROM` points on through an HNSW index.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from servekit.database.pool import DatabasePool
from services.retrieval.stores import (
    Batches,
    Collection,
    Metric,
    Point,
    VectorStore,
    collection_exists,
    collection_not_found,
)
from services.retrieval.stores.postgres_index import IndexBuilder
from services.retrieval.stores.postgres_schema import open_pool
from services.retrieval.stores.postgres_tables import create_table, drop_table, sweep, table_of

INDEXED_FROM = 10_000

# pgvector's operator, whose result is less for nearer.
_OPERATORS = {Metric.COSINE: sql.SQL("<=>"), Metric.DOT: sql.SQL("<#>"), Metric.EUCLIDEAN: sql.SQL("<->")}


class PostgresStore:
    """See `VectorStore`.

    Args:
        pool: The connections to the database.
        indexed_from: The number of points from which on a collection has an HNSW index.
    """

    def __init__(self, pool: DatabasePool, indexed_from: int = INDEXED_FROM) -> None:
        self._pool = pool
        self._indexes = IndexBuilder(pool, indexed_from)
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        return bool(self._pool.ready)

    async def start(self) -> None:
        await self._pool.start()
        self._sweeper = asyncio.create_task(sweep(self._pool))

    async def stop(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        await self._indexes.stop()
        await self._pool.stop()

    async def create_collection(
        self, tenant: str, name: str, space: str, dimensions: int, metric: Metric
    ) -> Collection:
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "INSERT INTO retrieval.collections (tenant, name, space, dimensions, metric) "
                    "VALUES (%s, %s, %s, %s, %s) RETURNING key",
                    (tenant, name, space, dimensions, metric.value),
                )
                (key,) = await cursor.fetchone() or (0,)
                await create_table(connection, key, dimensions)
        except psycopg.errors.UniqueViolation as error:
            raise collection_exists(name) from error
        return Collection(key, name, space, dimensions, metric)

    async def get_collection(self, tenant: str, name: str) -> Collection:
        found = await self._collections("tenant = %s AND name = %s", (tenant, name))
        if not found:
            raise collection_not_found(name)
        return found[0]

    async def list_collections(self, tenant: str, after: str, limit: int) -> list[Collection]:
        condition = 'tenant = %s AND name COLLATE "C" > %s ORDER BY name COLLATE "C" LIMIT %s'
        return await self._collections(condition, (tenant, after, limit))

    async def delete_collection(self, tenant: str, name: str) -> None:
        statement = "DELETE FROM retrieval.collections WHERE tenant = %s AND name = %s RETURNING key"
        async with self._pool.connection() as connection:
            row = await (await connection.execute(statement, (tenant, name))).fetchone()
        if row is None:
            raise collection_not_found(name)
        await drop_table(self._pool, row[0])  # the collection is deleted, even if its table stays until the next sweep

    async def count_points(self, collection: Collection, metadata: Mapping[str, Any]) -> int:
        statement = sql.SQL("SELECT count(*) FROM {table} {condition}").format(
            table=table_of(collection.key), condition=sql.SQL("WHERE metadata @> %(metadata)s" if metadata else "")
        )
        async with self._transaction(collection) as connection:
            row = await (await connection.execute(statement, {"metadata": Jsonb(metadata)})).fetchone()
        return int(row[0]) if row else 0

    async def upsert_points(
        self, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]
    ) -> None:
        async with self._transaction(collection) as connection:
            await _insert(connection, collection, points, vectors)
        self._indexes.check(collection)

    async def replace_points(self, collection: Collection, metadata: Mapping[str, Any], batches: Batches) -> int:
        statement = sql.SQL("DELETE FROM {table} WHERE metadata @> %s").format(table=table_of(collection.key))
        replaced = f"{collection.key} {json.dumps(metadata, sort_keys=True)}"
        async with self._transaction(collection) as connection:
            # The points are embedded already: the caller's deadline alone bounds the wait for an index being built.
            await connection.execute("SET LOCAL statement_timeout = 0")
            # A call that replaces the same points begins once this one has ended, so that it sees the new points.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (replaced,))
            deleted = (await connection.execute(statement, (Jsonb(metadata),))).rowcount
            for points, vectors in batches:
                await _insert(connection, collection, points, vectors)
            found = await connection.execute("SELECT FROM retrieval.collections WHERE key = %s", (collection.key,))
            if not found.rowcount:  # deleted meanwhile; its table is about to be dropped
                raise collection_not_found(collection.name)
        self._indexes.check(collection)
        return deleted

    async def search_points(
        self, collection: Collection, vector: NDArray[np.float32], limit: int, metadata: Mapping[str, Any]
    ) -> list[tuple[Point, float]]:
        statement = sql.SQL(
            "SELECT id, text, metadata, embedding {operator} %(vector)b AS distance FROM {table} "
            "{condition} ORDER BY distance LIMIT %(limit)s"
        ).format(
            operator=_OPERATORS[collection.metric],
            table=table_of(collection.key),
            condition=sql.SQL("WHERE metadata @> %(metadata)s" if metadata else ""),
        )
        values = {"vector": vector, "limit": limit, "metadata": Jsonb(metadata)}
        async with self._transaction(collection) as connection:
            rows = await (await connection.execute(statement, values)).fetchall()
        best = 1.0 if collection.metric is Metric.COSINE else 0.0
        return [(Point(key, text, metadata), best - distance) for key, text, metadata, distance in rows]

    async def delete_points(self, collection: Collection, ids: Sequence[str], metadata: Mapping[str, Any]) -> int:
        condition = sql.SQL("id = ANY(%(ids)s)" if ids else "metadata @> %(metadata)s")
        statement = sql.SQL("DELETE FROM {table} WHERE {condition}").format(
            table=table_of(collection.key), condition=condition
        )
        values = {"ids": list(ids), "metadata": Jsonb(metadata)}
        async with self._transaction(collection) as connection:
            return (await connection.execute(statement, values)).rowcount

    async def _collections(self, condition: str, values: Sequence[object]) -> list[Collection]:
        statement = "SELECT key, name, space, dimensions, metric, indexed FROM retrieval.collections WHERE "
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(sql.SQL(statement + condition), values)).fetchall()
        return [
            Collection(key, name, space, size, Metric(metric), done) for key, name, space, size, metric, done in rows
        ]

    @asynccontextmanager
    async def _transaction(self, collection: Collection) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction on a collection's table, which another call may have dropped meanwhile."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except psycopg.errors.UndefinedTable as error:
            raise collection_not_found(collection.name) from error


async def _insert(
    connection: psycopg.AsyncConnection, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]
) -> None:
    """Write points in the transaction of a connection; a point whose id exists is replaced."""
    rows = [(p.id, p.text, Jsonb(p.metadata), v) for p, v in zip(points, vectors, strict=True)]
    rows.sort(key=lambda row: row[0])  # calls that write the same points lock them in one order
    statement = sql.SQL(
        "INSERT INTO {table} (id, text, metadata, embedding) VALUES (%s, %s, %s, %b) "
        "ON CONFLICT (id) DO UPDATE SET (text, metadata, embedding) = "
        "(excluded.text, excluded.metadata, excluded.embedding)"
    ).format(table=table_of(collection.key))
    async with connection.cursor() as cursor:
        await cursor.executemany(statement, rows)


def open_store(url: str, connections: int) -> VectorStore:
    """The store in the database of this URL."""
    return PostgresStore(open_pool(url, connections))
