"""The HNSW indexes of large collections (Malkov and Yashunin 2016, arXiv:1603.09320), built in the background."""

import asyncio
import logging

import psycopg
from psycopg import sql

from servekit.database.pool import DatabasePool
from servekit.errors import ServeError
from services.retrieval.stores import Collection, Metric
from services.retrieval.stores.postgres_tables import table_of

log = logging.getLogger(__name__)

_OPERATOR_CLASSES = {
    Metric.COSINE: sql.SQL("vector_cosine_ops"),
    Metric.DOT: sql.SQL("vector_ip_ops"),
    Metric.EUCLIDEAN: sql.SQL("vector_l2_ops"),
}


class IndexBuilder:
    """Builds the index of each collection that has become large; writers of the collection wait meanwhile.

    Args:
        pool: The connections to the database.
        indexed_from: The number of points from which on a collection has an index.
    """

    def __init__(self, pool: DatabasePool, indexed_from: int) -> None:
        self._pool = pool
        self._indexed_from = indexed_from
        self._running: dict[int, asyncio.Task[None]] = {}

    def check(self, collection: Collection) -> None:
        """Begin to build the index of a collection that was written to, if it needs one; the caller need not wait."""
        if not (collection.indexed or collection.key in self._running):
            task = asyncio.create_task(self._build(collection))
            self._running[collection.key] = task
            task.add_done_callback(lambda _: self._running.pop(collection.key))

    async def stop(self) -> None:
        """Cancel what is being built."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _build(self, collection: Collection) -> None:
        try:
            async with self._pool.connection() as connection:
                if await self._is_large(connection, collection) and await _is_first(connection, collection):
                    await _create_index(connection, collection)
        except psycopg.errors.UndefinedTable:
            return  # deleted meanwhile
        except ServeError as error:
            log.warning("the index of collection %s is not built: %s", collection.name, error.message)

    async def _is_large(self, connection: psycopg.AsyncConnection, collection: Collection) -> bool:
        statement = sql.SQL("SELECT count(*) FROM (SELECT FROM {table} LIMIT %s)").format(
            table=table_of(collection.key)
        )
        row = await (await connection.execute(statement, (self._indexed_from,))).fetchone()
        return row is not None and row[0] >= self._indexed_from


async def _is_first(connection: psycopg.AsyncConnection, collection: Collection) -> bool:
    """Whether no other replica builds or has built the index; none can before the end of this transaction.

    The collection's row is not locked meanwhile: it can be deleted.
    """
    cursor = await connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (f"retrieval index {collection.key}",)
    )
    if await cursor.fetchone() != (True,):
        return False
    cursor = await connection.execute("SELECT indexed FROM retrieval.collections WHERE key = %s", (collection.key,))
    return await cursor.fetchone() == (False,)


async def _create_index(connection: psycopg.AsyncConnection, collection: Collection) -> None:
    await connection.execute("SET LOCAL statement_timeout = 0")
    statement = sql.SQL("CREATE INDEX ON {table} USING hnsw (embedding {operators})").format(
        table=table_of(collection.key), operators=_OPERATOR_CLASSES[collection.metric]
    )
    await connection.execute(statement)
    await connection.execute("UPDATE retrieval.collections SET indexed = true WHERE key = %s", (collection.key,))
