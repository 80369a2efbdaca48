"""The tables that the Postgres store keeps, and its connections to them."""

import psycopg
from pgvector.psycopg import register_vector_async

from servekit.database.pool import DatabasePool
from servekit.database.schema import Schema

SCHEMA = Schema(
    "retrieval",
    (
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
    ),
)

# A search reads `ef_search` candidates first and goes on while a filter leaves too few of them.
_SESSION = """
    SET hnsw.ef_search = 100;
    SET hnsw.iterative_scan = strict_order;
    SET hnsw.max_scan_tuples = 200000;
"""


def open_pool(url: str, connections: int) -> DatabasePool:
    """The connections of a store to the database of this URL, not yet started."""
    return DatabasePool(url, connections, SCHEMA, _configure)


async def _configure(connection: psycopg.AsyncConnection) -> None:
    await connection.execute(_SESSION)
    await register_vector_async(connection)
