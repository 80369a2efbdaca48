"""The tables of the collections' points: one for each row of `retrieval.collections`, dropped after it.

A collection is deleted with its row. Its table is dropped at once, unless it stays in use or the process ends first:
`sweep` drops what is left.
"""

import asyncio
import logging

import psycopg
from psycopg import sql

from servekit.database.pool import PROBE_SECONDS, DatabasePool
from servekit.errors import ServeError

log = logging.getLogger(__name__)

DROP_ATTEMPTS = 5  # of a second each
SWEEP_SECONDS = 3600.0  # between two sweeps

_ORPHANS = """
    SELECT substring(relname FROM '[0-9]+')::bigint FROM pg_class
    WHERE relnamespace = 'retrieval'::regnamespace AND relkind = 'r' AND relname ~ '^points_[0-9]+$'
    AND NOT EXISTS (SELECT FROM retrieval.collections WHERE 'points_' || key = relname)
"""
_BUILDERS = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE relid = to_regclass(%s)"


def table_of(key: int) -> sql.Identifier:
    """The table of the points of the collection with this key."""
    return sql.Identifier("retrieval", f"points_{key}")


async def create_table(connection: psycopg.AsyncConnection, key: int, dimensions: int) -> None:
    """Create the table of a new collection."""
    # Vectors stay in the row, where a scan reads them, unless they leave no room for it.
    statements = sql.SQL(
        "CREATE TABLE {table} (id text PRIMARY KEY, text text NOT NULL, metadata jsonb NOT NULL, "
        "embedding vector({dimensions}) STORAGE main NOT NULL); "
        "CREATE INDEX ON {table} USING gin (metadata jsonb_path_ops)"
    )
    await connection.execute(statements.format(table=table_of(key), dimensions=sql.Literal(dimensions)))


async def drop_table(pool: DatabasePool, key: int) -> bool:
    """Drop the table of a deleted collection; return whether it is gone. A table that stays is logged."""
    try:
        for _ in range(DROP_ATTEMPTS):
            if await _try_drop(pool, key):
                return True
        problem = "it is in use"
    except (ServeError, psycopg.Error) as error:
        problem = str(error)
    log.warning("table points_%d of a deleted collection is not dropped yet: %s", key, problem)
    return False


async def _try_drop(pool: DatabasePool, key: int) -> bool:
    """Drop a table unless it stays in use for a second; cancel the replica that builds its index."""
    statement = sql.SQL("DROP TABLE IF EXISTS {table}").format(table=table_of(key))
    async with pool.connection() as connection:
        await connection.execute(_BUILDERS, (f"retrieval.points_{key}",))
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        try:
            async with connection.transaction():
                await connection.execute(statement)
        except psycopg.errors.LockNotAvailable:
            return False
    return True


async def drop_orphans(pool: DatabasePool) -> int:
    """Drop the tables of collections that no longer exist; return how many are gone."""
    async with pool.connection() as connection:
        keys = [key for (key,) in await (await connection.execute(_ORPHANS)).fetchall()]
    return sum([await drop_table(pool, key) for key in keys])


async def sweep(pool: DatabasePool) -> None:
    """Drop the tables of collections that no longer exist as soon as the database answers, and then every hour."""
    while True:
        delay = SWEEP_SECONDS
        try:
            if dropped := await drop_orphans(pool):
                log.info("dropped the tables of %d deleted collections", dropped)
        except ServeError:
            delay = PROBE_SECONDS
        except psycopg.Error as error:
            log.warning("cannot look for tables of deleted collections: %s", error)
        await asyncio.sleep(delay)
