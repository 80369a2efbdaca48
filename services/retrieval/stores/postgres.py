"""Collections and their points, in Postgres with pgvector.

A collection has a table of its own, so that its vectors have their size and their index its metric.
It is searched exactly while small, from `INDEXED_FROM` points on through an HNSW index (Malkov and
Yashunin 2016, arXiv:1603.09320).
"""

import asyncio
import enum
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql
from psycopg.types.json import Jsonb

from servekit.rpc.errors import AlreadyExists, NotFound, ServeError
from services.retrieval.stores.database import Database

log = logging.getLogger(__name__)

INDEXED_FROM = 10_000


class Metric(enum.Enum):
    """How near two vectors are."""

    COSINE = "cosine"
    DOT = "dot"
    EUCLIDEAN = "euclidean"


# pgvector's operator, whose result is less for what is nearer, and the operator class of its index.
_OPERATORS = {
    Metric.COSINE: (sql.SQL("<=>"), sql.SQL("vector_cosine_ops")),
    Metric.DOT: (sql.SQL("<#>"), sql.SQL("vector_ip_ops")),
    Metric.EUCLIDEAN: (sql.SQL("<->"), sql.SQL("vector_l2_ops")),
}


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of points of one embedding space.

    Attributes:
        key: Its number in the store.
        name: Its name within the tenant.
        space: The vector space: a model id.
        dimensions: Numbers in a vector.
        metric: How its vectors are compared.
        indexed: Whether it has its index.
    """

    key: int
    name: str
    space: str
    dimensions: int
    metric: Metric
    indexed: bool = False

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier("retrieval", f"points_{self.key}")


@dataclass(frozen=True, slots=True)
class Point:
    """What is kept of a point beside its vector."""

    id: str
    text: str
    metadata: dict[str, Any]


class Store:
    """What the service keeps. Every vector that comes in is finite, float32, of its collection's size.

    Args:
        database: Where.
        indexed_from: From how many points on a collection has an index.
    """

    def __init__(self, database: Database, indexed_from: int = INDEXED_FROM) -> None:
        self._database = database
        self._indexed_from = indexed_from
        self._indexing: dict[int, asyncio.Task[None]] = {}

    async def stop(self) -> None:
        """Leave no index half built."""
        for task in self._indexing.values():
            task.cancel()
        await asyncio.gather(*self._indexing.values(), return_exceptions=True)

    async def create(self, tenant: str, name: str, space: str, dimensions: int, metric: Metric) -> Collection:
        """An empty collection.

        Raises:
            AlreadyExists: The tenant has one of this name.
        """
        try:
            async with self._database.connection() as connection:
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
                    ).format(table=collection.table, dimensions=sql.Literal(dimensions))
                )
        except psycopg.errors.UniqueViolation as error:
            raise AlreadyExists(f"there is a collection {name!r}", field="name") from error
        return collection

    async def get(self, tenant: str, name: str) -> Collection:
        """A tenant's collection.

        Raises:
            NotFound: The tenant has none of this name.
        """
        async with self._database.connection() as connection:
            cursor = await connection.execute(
                "SELECT key, space, dimensions, metric, indexed FROM retrieval.collections "
                "WHERE tenant = %s AND name = %s",
                (tenant, name),
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(f"there is no collection {name!r}", field="collection")
        key, space, dimensions, metric, indexed = row
        return Collection(key, name, space, dimensions, Metric(metric), indexed)

    async def upsert(self, collection: Collection, points: Sequence[Point], vectors: NDArray[np.float32]) -> None:
        """Write points of different ids, all or none; those of known ids are replaced.

        Args:
            collection: Where.
            points: What, of `[points]`.
            vectors: float32 `[points, dimensions]`.
        """
        rows = [(p.id, p.text, Jsonb(p.metadata), v) for p, v in zip(points, vectors, strict=True)]
        rows.sort(key=lambda row: row[0])  # calls that write the same points take their locks in one order
        statement = sql.SQL(
            "INSERT INTO {table} (id, text, metadata, embedding) VALUES (%s, %s, %s, %b) "
            "ON CONFLICT (id) DO UPDATE SET (text, metadata, embedding) = "
            "(excluded.text, excluded.metadata, excluded.embedding)"
        ).format(table=collection.table)
        async with self._database.connection() as connection, connection.cursor() as cursor:
            await cursor.executemany(statement, rows)
        if not (collection.indexed or collection.key in self._indexing):
            # The points are written whether or not the caller waits for the index.
            task = asyncio.create_task(self._index(collection))
            self._indexing[collection.key] = task
            task.add_done_callback(lambda _: self._indexing.pop(collection.key))

    async def search(
        self, collection: Collection, vector: NDArray[np.float32], limit: int, where: dict[str, Any]
    ) -> list[tuple[Point, float]]:
        """The nearest points whose metadata contains `where`, best first, each with its score."""
        operator, _ = _OPERATORS[collection.metric]
        statement = sql.SQL(
            "SELECT id, text, metadata, embedding {operator} %(vector)b AS distance FROM {table} "
            "{condition} ORDER BY distance LIMIT %(limit)s"
        ).format(
            operator=operator,
            table=collection.table,
            condition=sql.SQL("WHERE metadata @> %(where)s" if where else ""),
        )
        values = {"vector": vector, "limit": limit, "where": Jsonb(where)}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(statement, values)).fetchall()
        near = 1.0 if collection.metric is Metric.COSINE else 0.0
        return [(Point(key, text, metadata), near - distance) for key, text, metadata, distance in rows]

    async def delete(self, collection: Collection, ids: Sequence[str], where: dict[str, Any]) -> int:
        """Delete the points of these ids or, where there are none, those whose metadata contains `where`; how many."""
        condition = sql.SQL("id = ANY(%(ids)s)" if ids else "metadata @> %(where)s")
        statement = sql.SQL("DELETE FROM {table} WHERE {condition}").format(table=collection.table, condition=condition)
        values = {"ids": list(ids), "where": Jsonb(where)}
        async with self._database.connection() as connection:
            return (await connection.execute(statement, values)).rowcount

    async def _index(self, collection: Collection) -> None:
        """Give a collection its index once it is large enough; writers wait meanwhile."""
        try:
            async with self._database.connection() as connection:
                if await self._is_large(connection, collection):
                    await _build_index(connection, collection)
        except ServeError as error:
            log.warning("%s is searched without an index until it is next written: %s", collection.name, error.message)

    async def _is_large(self, connection: psycopg.AsyncConnection, collection: Collection) -> bool:
        statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {table} LIMIT %s)").format(table=collection.table)
        row = await (await connection.execute(statement, (self._indexed_from,))).fetchone()
        return row is not None and row[0] >= self._indexed_from


async def _build_index(connection: psycopg.AsyncConnection, collection: Collection) -> None:
    await connection.execute("SET LOCAL statement_timeout = 0")
    # Another replica that had the same thought waits at this row, and then finds it done.
    cursor = await connection.execute(
        "UPDATE retrieval.collections SET indexed = true WHERE key = %s AND NOT indexed", (collection.key,)
    )
    if cursor.rowcount:
        _, operators = _OPERATORS[collection.metric]
        statement = sql.SQL("CREATE INDEX ON {table} USING hnsw (embedding {operators})")
        await connection.execute(statement.format(table=collection.table, operators=operators))
