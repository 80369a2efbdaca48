"""Connections to Postgres, and whether it answers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from servekit.database.schema import Schema, migrate
from servekit.errors import DeadlineExceeded, FailedPrecondition, Overloaded, ServeError, Unavailable

log = logging.getLogger(__name__)

# The cores belong to the engines: a query runs on one, and starts no workers.
SESSION: LiteralString = """
    SET statement_timeout = '30s';
    SET plan_cache_mode = force_custom_plan;
    SET max_parallel_workers_per_gather = 0;
"""

CONNECT_SECONDS = 5
PROBE_SECONDS = 1.0  # between two probes of the database
ACQUIRE_SECONDS = 5.0  # how long a call may wait for a free connection

Configure = Callable[[psycopg.AsyncConnection], Awaitable[None]]


class DatabasePool:
    """Connections to one database, open while it answers, and reopened when it recovers.

    Args:
        url: `postgresql://user:password@host/database`, whose user owns the schema; empty where no database is
            configured: every call then raises `FailedPrecondition`.
        connections: The number of connections for calls; one more probes the database.
        schema: The schema, migrated before calls get a connection.
        configure: Prepares each connection that calls get, such as by registering types.
        unconfigured: The message of the error where no database is configured.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        schema: Schema,
        configure: Configure | None = None,
        unconfigured: str = "no database is configured",
    ) -> None:
        self._url = url
        self._connections = connections
        self._schema = schema
        self._prepare = configure
        self._unconfigured = unconfigured
        self._pool: AsyncConnectionPool | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool | None:
        """Whether the database answers and has its schema; None where none is configured."""
        return self._pool is not None if self._url else None

    async def start(self) -> None:
        """Begin to connect; `ready` becomes true when that is done."""
        if self._url:
            self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close every connection."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])

    def check_ready(self) -> None:
        """Check that the database answers.

        Raises:
            FailedPrecondition: No database is configured.
            Unavailable: The database does not answer.
        """
        self._connected()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection in a new transaction, which is committed at the end and rolled back by an exception.

        Raises:
            FailedPrecondition: No database is configured.
            Unavailable: The database does not answer, or has no space left.
            Overloaded: Every connection is in use.
            DeadlineExceeded: A statement exceeded its timeout.
        """
        pool = self._connected()
        try:
            async with pool.connection(timeout=ACQUIRE_SECONDS) as connection:
                yield connection
        except PoolTimeout as error:
            message = f"all {self._connections} connections to the database are in use"
            raise Overloaded(message, retry_after=PROBE_SECONDS) from error
        except psycopg.errors.QueryCanceled as error:
            raise DeadlineExceeded("a statement exceeded the database's timeout") from error
        except psycopg.errors.DiskFull as error:
            log.error("the database has no space left: %s", error.diag.message_primary)
            raise Unavailable("the database has no space left", retry_after=PROBE_SECONDS) from error
        except psycopg.OperationalError as error:
            raise Unavailable("the database does not answer", retry_after=PROBE_SECONDS) from error

    @asynccontextmanager
    async def transaction(self, tenant: str) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction that sees and writes rows of one tenant only; raises as `connection` does."""
        async with self.connection() as connection:
            await connection.execute("SELECT set_config('polyphony.tenant', %s, true)", (tenant,))
            yield connection

    def _connected(self) -> AsyncConnectionPool:
        """Return the pool; raises as `check_ready` does."""
        if not self._url:
            raise FailedPrecondition(self._unconfigured)
        if self._pool is None:
            raise Unavailable("the database does not answer", retry_after=PROBE_SECONDS)
        return self._pool

    async def _watch(self) -> None:
        problem = ""
        while True:
            try:
                await self._stay_connected()
            except (psycopg.Error, ServeError, TimeoutError) as error:
                if problem != (problem := str(error)):  # an outage is logged once, not every second
                    log.warning("the database cannot be used: %s", problem)
            await asyncio.sleep(PROBE_SECONDS)

    async def _stay_connected(self) -> None:
        """Connect and migrate the schema, then probe until the database fails, and raise that failure."""
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_SECONDS
        ) as probe:
            await migrate(probe, self._schema)
            pool = AsyncConnectionPool(
                self._url,
                min_size=1,
                max_size=self._connections,
                open=False,
                configure=self._configure,
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

    async def _configure(self, connection: psycopg.AsyncConnection) -> None:
        await connection.execute(SESSION)
        if self._prepare is not None:
            await self._prepare(connection)
        if self._schema.role:
            await connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._schema.role)))
        await connection.commit()
