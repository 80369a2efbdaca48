"""The schema of a process in the database, and how it is brought up to date."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql

from servekit.database.role import ensure_role

LOCK = 0x706F6C79  # identifies the migration among the database's advisory locks


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables of one process.

    Attributes:
        name: The name of the schema, that of the process.
        migrations: Statements that are applied in order, each once. One that has been released is never edited.
        role: The role that reads and writes the tables, `polyphony_<name>` by convention. Row-level security applies to
            it, since it neither owns them nor is a superuser. Empty where the login uses its own tables directly.
    """

    name: str
    migrations: Sequence[LiteralString]
    role: str = ""


def isolate_tenants(table: LiteralString) -> LiteralString:
    """Return the statements that show a transaction only those rows whose `tenant` it has set."""
    rows = "tenant = current_setting('polyphony.tenant', true)"
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY;"
        f"CREATE POLICY tenant ON {table} USING ({rows}) WITH CHECK ({rows});"
    )


async def migrate(connection: psycopg.AsyncConnection, schema: Schema) -> None:
    """Apply the migrations that are missing; replicas that start together do so one after another.

    Raises:
        FailedPrecondition: See `ensure_role`.
    """
    name = sql.Identifier(schema.name)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        await connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {}.migrations (version integer PRIMARY KEY)").format(name)
        )
        row = await (await connection.execute(sql.SQL("SELECT count(*) FROM {}.migrations").format(name))).fetchone()
        applied = row[0] if row else 0
        for version, statements in enumerate(schema.migrations[applied:], start=applied):
            await connection.execute(sql.SQL(statements))
            await connection.execute(sql.SQL("INSERT INTO {}.migrations VALUES (%s)").format(name), (version,))
        if schema.role:
            await ensure_role(connection, schema.role)
            await connection.execute(
                sql.SQL(
                    "GRANT USAGE ON SCHEMA {schema} TO {role};"
                    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};"
                    "REVOKE ALL ON {schema}.migrations FROM {role}"
                ).format(schema=name, role=sql.Identifier(schema.role))
            )
