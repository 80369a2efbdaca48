"""Connections to Postgres, and whether it answers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from pgvector.psycopg import register_vector_async
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from servekit.errors import DeadlineExceeded, Overloaded, Unavailable
from services.retrieval.stores.postgres_schema import migrate

log = logging.getLogger(__name__)

# The cores belong to the engines: a query runs on one, and starts no workers.
# A search reads `ef_search` candidates first and goes on while a filter leaves too few of them.
SESSION = """
    SET statement_timeout = '30s';
    SET plan_cache_mode = force_custom_plan;
    SET max_parallel_workers_per_gather = 0;
    SET hnsw.ef_search = 100;
    SET hnsw.iterative_scan = strict_order;
    SET hnsw.max_scan_tuples = 200000;
"""

CONNECT_SECONDS = 5
PROBE_SECONDS = 1.0  # between two probes of the database
ACQUIRE_SECONDS = 5.0  # how long a call may wait for a free connection


class PostgresPool:
    """Connections to one database, open while it answers; opened anew when it has recovered.

    Args:
        url: `postgresql://user:password@host/database`.
        connections: The number of connections for calls; one more probes the database.
    """

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._connections = connections
        self._pool: AsyncConnectionPool | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the database answers and has its schema."""
        return self._pool is not None

    async def start(self) -> None:
        """Begin to connect; `ready` becomes true when that is done."""
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close every connection."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection in a new transaction, which is committed at the end and rolled back by an exception.

        Raises:
            Unavailable: The database does not answer.
            Overloaded: Every connection is in use.
            DeadlineExceeded: A statement exceeded its timeout.
        """
        if self._pool is None:
            raise Unavailable("the database does not answer", retry_after=PROBE_SECONDS)
        try:
            async with self._pool.connection(timeout=ACQUIRE_SECONDS) as connection:
                yield connection
        except PoolTimeout as error:
            message = f"all {self._connections} connections to the database are in use"
            raise Overloaded(message, retry_after=PROBE_SECONDS) from error
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded("a statement exceeded the database's timeout") from error
        except psycopg.OperationalError as error:
            raise Unavailable("the database does not answer", retry_after=PROBE_SECONDS) from error

    async def _watch(self) -> None:
        while True:
            try:
                await self._stay_connected()
            except (psycopg.OperationalError, TimeoutError) as error:
                log.warning("the database does not answer: %s", error)
            await asyncio.sleep(PROBE_SECONDS)

    async def _stay_connected(self) -> None:
        """Connect and migrate the schema, then probe until the database fails, and raise that failure."""
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_SECONDS
        ) as probe:
            await migrate(probe)
            pool = AsyncConnectionPool(
                self._url,
                min_size=1,
                max_size=self._connections,
                open=False,
                configure=_configure,
                kwargs={"connect_timeout": CONNECT_SECONDS},
            )
            try:
                await pool.open()
                self._pool = pool
                log.info("database connected")
                while True:
                    await asyncio.sleep(PROBE_SECONDS)
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await probe.execute("SELECT 1")
            finally:
                self._pool = None
                await pool.close(timeout=1)  # calls that wait for a connection fail now


async def _configure(connection: psycopg.AsyncConnection) -> None:
    await connection.execute(SESSION)
    await register_vector_async(connection)
    await connection.commit()
