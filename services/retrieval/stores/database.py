"""The Postgres behind the store: its schema, its connections, and whether it answers."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from pgvector.psycopg import register_vector_async
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from servekit.rpc.errors import DeadlineExceeded, FailedPrecondition, Overloaded, Unavailable

log = logging.getLogger(__name__)

# Applied in order, each once. A version that has been released is never edited.
MIGRATIONS = (
    """
    CREATE EXTENSION IF NOT EXISTS vector;
    CREATE TABLE retrieval.collections (
        key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant text NOT NULL,
        name text NOT NULL,
        space text NOT NULL,
        dimensions integer NOT NULL,
        metric text NOT NULL,
        indexed boolean NOT NULL DEFAULT false,
        created timestamptz NOT NULL DEFAULT now(),
        UNIQUE (tenant, name)
    );
    """,
)
LOCK = 0x706F6C79  # names the migration among the database's advisory locks

# The cores belong to the engines: a query has one, and starts no workers.
# A search looks at `ef_search` candidates first and goes on while a filter leaves too few of them.
SESSION = """
    SET statement_timeout = '30s';
    SET plan_cache_mode = force_custom_plan;
    SET max_parallel_workers_per_gather = 0;
    SET hnsw.ef_search = 100;
    SET hnsw.iterative_scan = strict_order;
    SET hnsw.max_scan_tuples = 200000;
"""

CONNECT_SECONDS = 5
PROBE_SECONDS = 1.0  # between two looks at whether the database is there
PERMIT_SECONDS = 5.0  # how long a call may wait for a connection


class Database:
    """Connections to one database, there while it answers; made anew when it is back.

    Args:
        url: `postgresql://user:password@host/database`; empty for none.
        connections: How many to hold for calls; one more watches.
    """

    def __init__(self, url: str, connections: int) -> None:
        self._url = url
        self._connections = connections
        self._pool: AsyncConnectionPool | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the database answers and has its schema, if there is to be one."""
        return self._pool is not None or not self._url

    async def start(self) -> None:
        """Begin to connect; `ready` says when it is done."""
        if self._url:
            self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End every connection."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection with a transaction of its own: committed at the end, rolled back by an exception.

        Raises:
            Unavailable: The database does not answer.
            Overloaded: Every connection is taken.
            DeadlineExceeded: A statement took too long.
            FailedPrecondition: There is to be no database.
        """
        if not self._url:
            raise FailedPrecondition("this service has no database_url: it embeds, and keeps nothing")
        if self._pool is None:
            raise Unavailable("the database does not answer", retry_after=PROBE_SECONDS)
        try:
            async with self._pool.connection(timeout=PERMIT_SECONDS) as connection:
                yield connection
        except PoolTimeout as error:
            raise Overloaded("every connection to the database is taken", retry_after=PROBE_SECONDS) from error
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded("the database took too long") from error
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
        """Connect and prepare the schema, then watch until the database is gone, and raise that."""
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
                log.info("the database is there")
                while True:
                    await asyncio.sleep(PROBE_SECONDS)
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await probe.execute("SELECT 1")
            finally:
                self._pool = None
                await pool.close(timeout=1)  # tells whoever waits for a connection


async def migrate(connection: psycopg.AsyncConnection) -> None:
    """Bring the schema up to date; replicas that start together take turns."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS retrieval")
        await connection.execute("CREATE TABLE IF NOT EXISTS retrieval.migrations (version integer PRIMARY KEY)")
        row = await (await connection.execute("SELECT count(*) FROM retrieval.migrations")).fetchone()
        applied = row[0] if row else 0
        for version, statements in enumerate(MIGRATIONS[applied:], start=applied):
            await connection.execute(sql.SQL(statements))
            await connection.execute("INSERT INTO retrieval.migrations VALUES (%s)", (version,))


async def _configure(connection: psycopg.AsyncConnection) -> None:
    await connection.execute(SESSION)
    await register_vector_async(connection)
    await connection.commit()
