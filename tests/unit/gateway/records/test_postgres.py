"""Records in Postgres: row-level security, and what several gateways do to the same rows."""

import asyncio

import psycopg
import pytest

from gateway.records.postgres import open_records
from gateway.records.postgres_schema import SCHEMA
from tests.watching import until

from .test_records import ONE, Bytes, add, example

TENANTS = ("objects", "files", "vector_stores", "vector_store_files", "vector_store_changes")


@pytest.fixture
async def gateways(database_url):
    """The records of three gateways."""
    gateways = [open_records(database_url, 4) for _ in range(3)]
    for records in gateways:
        await records.start()
    await until(lambda: all(records.ready for records in gateways))
    yield gateways
    for records in gateways:
        await records.stop()


async def fetch(connection, statement):
    return await (await connection.execute(statement)).fetchall()


async def test_every_table_but_the_names_of_tenants_has_forced_row_level_security(gateways):
    async with gateways[0]._pool.connection() as connection:
        rows = await fetch(
            connection,
            "SELECT relname, relrowsecurity AND relforcerowsecurity, relowner::regrole::text = current_user "
            "FROM pg_class WHERE relnamespace = 'gateway'::regnamespace AND relkind = 'r'",
        )
        [(role, is_super, bypasses)] = await fetch(
            connection, "SELECT rolname, rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
    forced = {name: secured for name, secured, _ in rows}
    assert forced == {**dict.fromkeys(TENANTS, True), "tenants": False, "migrations": False}
    assert not any(owns for _, _, owns in rows)
    assert (role, is_super, bypasses) == (SCHEMA.role, False, False)


async def test_a_query_without_a_tenant_sees_no_row(gateways):
    records = gateways[0]
    await add(records, example("f-1"))
    async with records._pool.connection() as connection:
        assert [await fetch(connection, f"SELECT * FROM gateway.{table}") for table in TENANTS] == [[]] * len(TENANTS)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with records._pool.connection() as connection:
            await connection.execute("INSERT INTO gateway.vector_stores VALUES ('ada', 'vs', '', 1, '{}')")


async def test_bytes_are_deleted_by_one_of_several_gateways(gateways):
    await add(gateways[0], example("f-1"))
    await gateways[0].remove_file("ada", "f-1")
    data = Bytes()

    async def slowly():
        await asyncio.sleep(0.1)
        await data.delete()

    outcomes = await asyncio.gather(*(records.collect("ada", ONE, slowly) for records in gateways))
    assert (sorted(outcomes), data.deleted) == ([False, False, True], 1)


async def test_a_gateway_that_dies_while_it_deletes_leaves_a_row_for_the_next_sweep(gateways):
    await add(gateways[0], example("f-1"))
    await gateways[0].remove_file("ada", "f-1")
    deleting = asyncio.Event()

    async def hang():
        deleting.set()
        await asyncio.Event().wait()

    dying = asyncio.create_task(gateways[0].collect("ada", ONE, hang))
    await deleting.wait()
    assert not await gateways[1].collect("ada", ONE, Bytes().delete)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    assert await gateways[1].unreferenced("ada") == [ONE]
    assert await gateways[1].collect("ada", ONE, Bytes().delete)


async def test_an_upload_waits_for_a_sweep_that_forgets_its_tenant(gateways):
    """And then its tenant is recorded anew."""
    await add(gateways[0], example("f-1"))
    await gateways[0].remove_file("ada", "f-1")
    await gateways[0].collect("ada", ONE, Bytes().delete)
    async with gateways[0]._pool.transaction("ada") as forgetting:
        await forgetting.execute("SELECT FROM gateway.tenants WHERE name = 'ada' FOR UPDATE")
        upload = asyncio.create_task(add(gateways[1], example("f-2")))
        while not await fetch(forgetting, "SELECT FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)
        await forgetting.execute("DELETE FROM gateway.tenants WHERE name = 'ada'")
    file = await upload
    assert await gateways[2].files("ada") == [file]
    assert await gateways[2].tenants() == ["ada"]
