"""Connections to Postgres: schemas, roles, tenants, and restarts."""

import asyncio
import logging
from contextlib import asynccontextmanager

import psycopg
import pytest

from servekit.database.pool import DatabasePool
from servekit.database.schema import Schema, isolate_tenants
from servekit.errors import DeadlineExceeded, Unavailable
from tests.watching import until

NOTES = Schema(
    "notes",
    (
        "CREATE TABLE notes.notes (id integer PRIMARY KEY, tenant text NOT NULL);" + isolate_tenants("notes.notes"),
        "ALTER TABLE notes.notes ADD COLUMN text text NOT NULL DEFAULT ''",
    ),
    role="polyphony_notes",
)


@asynccontextmanager
async def connected(url, schema=NOTES, connections=4):
    pool = DatabasePool(url, connections, schema)
    await pool.start()
    try:
        await until(lambda: pool.ready)
        yield pool
    finally:
        await pool.stop()


async def fetch(connection, statement, *values):
    return await (await connection.execute(statement, values)).fetchall()


async def test_replicas_that_start_together_apply_each_migration_once(database_url):
    pools = [DatabasePool(database_url, 1, NOTES) for _ in range(6)]
    for pool in pools:
        await pool.start()
    await until(lambda: all(pool.ready for pool in pools))
    for pool in pools:
        await pool.stop()
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        assert await fetch(connection, "SELECT version FROM notes.migrations ORDER BY 1") == [(0,), (1,)]


async def test_a_released_schema_gets_the_migrations_that_are_new(database_url):
    old = Schema("notes", NOTES.migrations[:1], NOTES.role)
    async with connected(database_url, old) as pool, pool.transaction("ada") as connection:
        await connection.execute("INSERT INTO notes.notes VALUES (1, 'ada')")
    async with connected(database_url) as pool, pool.transaction("ada") as connection:
        assert await fetch(connection, "SELECT id, text FROM notes.notes") == [(1, "")]


async def test_calls_run_under_a_role_that_is_neither_owner_nor_superuser(database_url):
    async with connected(database_url) as pool, pool.connection() as connection:
        [(role, login)] = await fetch(connection, "SELECT current_user, session_user")
        assert (role, login) == ("polyphony_notes", "polyphony")
        flags = "SELECT rolsuper, rolbypassrls, rolcanlogin, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        assert await fetch(connection, flags) == [(False, False, False, False)]
        owners = "SELECT tableowner FROM pg_tables WHERE schemaname = 'notes'"
        assert set(await fetch(connection, owners)) == {("polyphony",)}
        forced = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'notes.notes'::regclass"
        assert await fetch(connection, forced) == [(True, True)]


async def test_a_transaction_sees_and_writes_rows_of_its_tenant_only(database_url):
    async with connected(database_url, connections=1) as pool:
        for number, tenant in enumerate(("ada", "bob")):
            async with pool.transaction(tenant) as connection:
                await connection.execute("INSERT INTO notes.notes VALUES (%s, %s)", (number, tenant))
        async with pool.connection() as connection:  # no tenant is set: not that of the last transaction either
            assert await fetch(connection, "SELECT * FROM notes.notes") == []
        async with pool.transaction("ada") as connection:
            assert await fetch(connection, "SELECT id FROM notes.notes") == [(0,)]
            assert (await connection.execute("UPDATE notes.notes SET text = 'x'")).rowcount == 1
            assert (await connection.execute("DELETE FROM notes.notes WHERE id = 1")).rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            async with pool.transaction("ada") as connection:
                await connection.execute("INSERT INTO notes.notes VALUES (3, 'bob')")
        for statement in ("SELECT * FROM notes.migrations", "ALTER TABLE notes.notes DISABLE ROW LEVEL SECURITY"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                async with pool.transaction("ada") as connection:
                    await connection.execute(statement)


async def messages(caplog, count=1):
    async with asyncio.timeout(15):
        while len(caplog.messages) < count:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.02)
    return caplog.messages


async def test_a_login_that_may_not_create_the_role_says_what_an_administrator_runs(database_url, caplog):
    """A database of a provider: its login owns the database, and may create no roles."""
    caplog.set_level(logging.WARNING, "servekit.database.pool")
    schema = Schema("notes", NOTES.migrations, "polyphony_absent")
    name = database_url.rpartition("/")[2]
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as administrator:
        await administrator.execute("DROP ROLE IF EXISTS tenant_login; CREATE ROLE tenant_login LOGIN PASSWORD 'x'")
        await administrator.execute(f'ALTER DATABASE "{name}" OWNER TO tenant_login')
        url = database_url.replace(database_url.partition("//")[2].partition("@")[0], "tenant_login:x")
        pool = DatabasePool(url, 1, schema)
        await pool.start()
        try:
            [message] = await messages(caplog)
            statements = 'CREATE ROLE "polyphony_absent" NOLOGIN; GRANT "polyphony_absent" TO "tenant_login";'
            assert statements in message
            with pytest.raises(Unavailable):
                async with pool.connection():
                    pass
            await administrator.execute(statements)
            await until(lambda: pool.ready)
            async with pool.transaction("ada") as connection:
                assert await fetch(connection, "SELECT current_user") == [("polyphony_absent",)]
        finally:
            await pool.stop()


async def test_a_role_that_row_level_security_ignores_is_refused(database_url, caplog):
    caplog.set_level(logging.WARNING, "servekit.database.pool")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("DROP ROLE IF EXISTS polyphony_above; CREATE ROLE polyphony_above BYPASSRLS")
    pool = DatabasePool(database_url, 1, Schema("notes", NOTES.migrations, "polyphony_above"))
    await pool.start()
    try:
        [message] = await messages(caplog)
        assert "must be neither a superuser nor have BYPASSRLS" in message
        assert not pool.ready
    finally:
        await pool.stop()


async def test_a_statement_that_exceeds_the_timeout_is_an_exceeded_deadline(database_url):
    async with connected(database_url) as pool:
        with pytest.raises(DeadlineExceeded):
            async with pool.connection() as connection:
                await connection.execute("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(10)")
