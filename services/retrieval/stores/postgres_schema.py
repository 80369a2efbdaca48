"""The tables that the Postgres store keeps, and how they are brought up to date."""

import psycopg
from psycopg import sql

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
LOCK = 0x706F6C79  # identifies the migration among the database's advisory locks


async def migrate(connection: psycopg.AsyncConnection) -> None:
    """Apply the migrations that are missing; replicas that start together do so one after another."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS retrieval")
        await connection.execute("CREATE TABLE IF NOT EXISTS retrieval.migrations (version integer PRIMARY KEY)")
        row = await (await connection.execute("SELECT count(*) FROM retrieval.migrations")).fetchone()
        applied = row[0] if row else 0
        for version, statements in enumerate(MIGRATIONS[applied:], start=applied):
            await connection.execute(sql.SQL(statements))
            await connection.execute("INSERT INTO retrieval.migrations VALUES (%s)", (version,))
