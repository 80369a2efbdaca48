"""Collections in Postgres with pgvector.

Each collection has its own table, whose column has its dimensions and whose index has its metric. It is
searched exactly while small, from `INDEXED_FROM` points on through an HNSW index (Malkov and Yashunin 2016,
arXiv:1603.09320).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from servekit.database.pool import DatabasePool
from servekit.errors import NotFound, ServeError
from services.retrieval.stores import (
    Collection,
    Metric,
    Point,
    VectorStore,
    collection_exists,
    collection_not_found,
)
from services.retrieval.stores.postgres_schema import open_pool

log = logging.getLogger(__name__)

INDEXED_FROM = 10_000

# pgvector's operator, whose result is less for nearer, and the operator class of its index.
_OPERATORS = {
    Metric.COSINE: (sql.SQL("<=>"), sql.SQL("vector_cosine_ops")),
    Metric.DOT: (sql.SQL("<#>"), sql.SQL("vector_ip_ops")),
    Metric.EUCLIDEAN: (sql.SQL("<->"), sql.SQL("vector_l2_ops")),
}


class PostgresStore:
    """See `VectorStore`.

    Args:
        pool: The connections to the database.
        indexed_from: The number of points from which on a collection has an HNSW index.
    """

    def __init__(self, pool: DatabasePool, indexed_from: int = INDEXED_FROM) -> None:
        self._pool = pool
        self._indexed_from = indexed_from
        self._indexing: dict[int, asyncio.Task[None]] = {}

    @property
    def ready(self) -> bool:
        return self._pool.ready

    async def start(self) -> None:
        await self._pool.start()

    async def stop(self) -> None:
        for task in self._indexing.values():
            task.cancel()
        await asyncio.gather(*self._indexing.values(), return_exceptions=True)
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
                collection = Collection(key, name, space, dimensions, metric)
                # Vectors stay in the row, where a scan reads them, unless they leave no room for it.
                await connection.execute(
                    sql.SQL(
                        "CREATE TABLE {table} (id text PRIMARY KEY, text text NOT NULL, metadata jsonb NOT NULL, "
                        "embedding vector({dimensions}) STORAGE main NOT NULL); "
                        "CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)"
                    ).format(table=_table(collection), dimensions=sql.Literal(dimensions))
                )
        except psycopg.errors.UniqueViolation as error:
            raise collection_exists(name) from error
        return collection

    async def get_collection(self, tenant: str, name: str) -> Collection:
        found = await self._collections("tenant = %s AND name = %s", (tenant, name))
        if not found:
            raise collection_not_found(name)
        return found[0]

    async def list_collections(self, tenant: str, after: str, limit: int) -> list[Collection]:
        condition = 'tenant = %s AND name COLLATE "C" > %s ORDER BY name COLLATE "C" LIMIT %s'
        return await self._collections(condition, (tenant, after, limit))

    async def delete_collection(self, tenant: str, name: str) -> None:
        collection = await self.get_collection(tenant, name)
        if building := self._indexing.get(collection.key):
            building.cancel()  # it has locked the table until the index is built
            await asyncio.wait([building])
        async with self._pool.connection() as connection:
            # The table before the row: another replica that builds the index locks them in this order.
            await connection.execute(sql.SQL("DROP TABLE IF EXISTS {table}").format(table=_table(collection)))
            cursor = await connection.execute("DELETE FROM retrieval.collections WHERE key = %s", (collection.key,))
        if not cursor.rowcount:  # another call was first
            raise collection_not_found(name)

    async def count_points(self, collection: Collection) -> int:
        statement = sql.SQL("SELECT count(*) FROM {table}").format(table=_table(collection))
        async with self._transaction(collection) as connection:
            row = await (await connection.execute(statement)).fetchone()
        return int(row[0]) if row else 0

    async def upsert_points(
        self, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]
    ) -> None:
        rows = [(p.id, p.text, Jsonb(p.metadata), v) for p, v in zip(points, vectors, strict=True)]
        rows.sort(key=lambda row: row[0])  # calls that write the same points lock them in one order
        statement = sql.SQL(
            "INSERT INTO {table} (id, text, metadata, embedding) VALUES (%s, %s, %s, %b) "
            "ON CONFLICT (id) DO UPDATE SET (text, metadata, embedding) = "
            "(excluded.text, excluded.metadata, excluded.embedding)"
        ).format(table=_table(collection))
        async with self._transaction(collection) as connection, connection.cursor() as cursor:
            await cursor.executemany(statement, rows)
        if not (collection.indexed or collection.key in self._indexing):
            # The points are written; the caller need not wait for the index.
            task = asyncio.create_task(self._index(collection))
            self._indexing[collection.key] = task
            task.add_done_callback(lambda _: self._indexing.pop(collection.key))

    async def search_points(
        self, collection: Collection, vector: NDArray[np.float32], limit: int, metadata: Mapping[str, Any]
    ) -> list[tuple[Point, float]]:
        operator, _ = _OPERATORS[collection.metric]
        statement = sql.SQL(
            "SELECT id, text, metadata, embedding {operator} %(vector)b AS distance FROM {table} "
            "{condition} ORDER BY distance LIMIT %(limit)s"
        ).format(
            operator=operator,
            table=_table(collection),
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
            table=_table(collection), condition=condition
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

    async def _index(self, collection: Collection) -> None:
        """Build a collection's index once it is large enough; writers wait meanwhile."""
        try:
            async with self._transaction(collection) as connection:
                if await self._is_large(connection, collection):
                    await _build_index(connection, collection)
        except NotFound:
            return  # deleted meanwhile
        except ServeError as error:
            log.warning("collection %s has no index until the next upsert: %s", collection.name, error.message)

    async def _is_large(self, connection: psycopg.AsyncConnection, collection: Collection) -> bool:
        statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {table} LIMIT %s)").format(table=_table(collection))
        row = await (await connection.execute(statement, (self._indexed_from,))).fetchone()
        return row is not None and row[0] >= self._indexed_from


async def _build_index(connection: psycopg.AsyncConnection, collection: Collection) -> None:
    await connection.execute("SET LOCAL statement_timeout = 0")
    # Another replica that is about to do the same waits for this row, and then finds the index built.
    cursor = await connection.execute(
        "UPDATE retrieval.collections SET indexed = true WHERE key = %s AND NOT indexed", (collection.key,)
    )
    if cursor.rowcount:
        _, operators = _OPERATORS[collection.metric]
        statement = sql.SQL("CREATE INDEX ON {table} USING hnsw (embedding {operators})")
        await connection.execute(statement.format(table=_table(collection), operators=operators))


def _table(collection: Collection) -> sql.Identifier:
    return sql.Identifier("retrieval", f"points_{collection.key}")


def open_store(url: str, connections: int) -> VectorStore:
    """The store in the database of this URL."""
    return PostgresStore(open_pool(url, connections))
