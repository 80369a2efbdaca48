"""Records in Postgres. Several replicas may share them; row-level security keeps tenants apart."""

from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from servekit.database.pool import DatabasePool
from servekit.database.schema import Schema, isolate_tenants
from services.speech.records import RecordTable, record_exists, record_not_found, too_many_records

SCHEMA = Schema(
    "speech",
    (
        """
        CREATE TABLE speech.records (
            tenant text NOT NULL,
            kind text NOT NULL,
            name text COLLATE "C" NOT NULL,
            record jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (tenant, kind, name)
        );
        """
        + isolate_tenants("speech.records"),
    ),
    role="polyphony_speech",
)


class PostgresRecordTable:
    """See `RecordTable`.

    Args:
        pool: The connections to the database.
    """

    def __init__(self, pool: DatabasePool) -> None:
        self._pool = pool

    @property
    def ready(self) -> bool | None:
        return self._pool.ready

    async def start(self) -> None:
        await self._pool.start()

    async def stop(self) -> None:
        await self._pool.stop()

    async def create(self, tenant: str, kind: str, name: str, record: dict[str, Any], limit: int | None = None) -> None:
        try:
            async with self._pool.transaction(tenant) as connection:
                if limit is not None:  # calls that count the same records do so one after another
                    lock: LiteralString = "SELECT pg_advisory_xact_lock(hashtextextended(%s || ' ' || %s, 0))"
                    await connection.execute(lock, (tenant, kind))
                await connection.execute(
                    "INSERT INTO speech.records (tenant, kind, name, record) VALUES (%s, %s, %s, %s)",
                    (tenant, kind, name, Jsonb(record)),
                )
                if limit is not None and await self._count(connection, kind) > limit:
                    raise too_many_records(kind, limit)
        except psycopg.errors.UniqueViolation:
            raise record_exists(kind, name) from None

    async def get(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        statement: LiteralString = "SELECT record FROM speech.records WHERE kind = %s AND name = %s"
        return await self._one(tenant, kind, name, statement)

    async def all(self, tenant: str, kind: str) -> dict[str, dict[str, Any]]:
        statement: LiteralString = "SELECT name, record FROM speech.records WHERE kind = %s ORDER BY name"
        async with self._pool.transaction(tenant) as connection:
            return dict(await (await connection.execute(statement, (kind,))).fetchall())

    async def names(self, tenant: str, kind: str) -> list[str]:
        statement: LiteralString = "SELECT name FROM speech.records WHERE kind = %s ORDER BY name"
        async with self._pool.transaction(tenant) as connection:
            return [name for (name,) in await (await connection.execute(statement, (kind,))).fetchall()]

    async def delete(self, tenant: str, kind: str, name: str) -> dict[str, Any]:
        statement: LiteralString = "DELETE FROM speech.records WHERE kind = %s AND name = %s RETURNING record"
        return await self._one(tenant, kind, name, statement)

    @staticmethod
    async def _count(connection: psycopg.AsyncConnection, kind: str) -> int:
        row = await (
            await connection.execute("SELECT count(*) FROM speech.records WHERE kind = %s", (kind,))
        ).fetchone()
        return int(row[0]) if row else 0

    async def _one(self, tenant: str, kind: str, name: str, statement: LiteralString) -> dict[str, Any]:
        if "\0" in name:  # a text of Postgres cannot have it
            raise record_not_found(kind, name)
        async with self._pool.transaction(tenant) as connection:
            row = await (await connection.execute(statement, (kind, name))).fetchone()
        if row is None:
            raise record_not_found(kind, name)
        record: dict[str, Any] = row[0]
        return record


def open_records(url: str, connections: int) -> RecordTable:
    """The records in the database of this URL."""
    unconfigured = "custom voices and anomaly detectors need a database: set POLYPHONY_SPEECH_DATABASE_URL"
    return PostgresRecordTable(DatabasePool(url, connections, SCHEMA, unconfigured=unconfigured))
