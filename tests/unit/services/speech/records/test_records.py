"""What the records of the speech service do, whatever they are in."""

import asyncio

import pytest

from servekit.errors import AlreadyExists, FailedPrecondition, NotFound
from services.speech.records import open_records
from tests.watching import until


@pytest.fixture(params=["memory", "postgresql"])
async def records(request):
    url = "memory:" if request.param == "memory" else request.getfixturevalue("database_url")
    records = open_records(url, 4)
    await records.start()
    await until(lambda: records.ready)
    yield records
    await records.stop()


async def test_a_record_belongs_to_a_tenant_and_a_kind(records):
    await records.create("ada", "voice", "anna", {"seconds": 3.0})
    assert await records.get("ada", "voice", "anna") == {"seconds": 3.0}
    assert await records.all("ada", "voice") == {"anna": {"seconds": 3.0}}
    for tenant, kind in (("bob", "voice"), ("ada", "sound-model")):
        assert await records.names(tenant, kind) == []
        assert await records.all(tenant, kind) == {}
        for call in (records.get, records.delete):
            with pytest.raises(NotFound):
                await call(tenant, kind, "anna")
    assert await records.delete("ada", "voice", "anna") == {"seconds": 3.0}
    assert await records.names("ada", "voice") == []


async def test_names_are_in_code_point_order(records):
    for name in ("b", "Z", "a.10", "a.2"):
        await records.create("ada", "voice", name, {})
    assert await records.names("ada", "voice") == list(await records.all("ada", "voice")) == ["Z", "a.10", "a.2", "b"]


async def test_of_several_calls_one_creates_a_name_and_one_deletes_it(records):
    calls = [records.create("ada", "voice", "anna", {"number": number}) for number in range(4)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in outcomes if error] == [AlreadyExists] * 3
    outcomes = await asyncio.gather(*(records.delete("ada", "voice", "anna") for _ in range(4)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(NotFound) == 3


async def test_calls_at_once_do_not_exceed_the_limit(records):
    calls = [records.create("ada", "voice", f"voice-{number}", {}, 3) for number in range(8)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [error.message for error in outcomes if error] == ["too many voices (3): delete one"] * 5
    assert len(await records.names("ada", "voice")) == 3
    await records.create("bob", "voice", "anna", {}, 3)


@pytest.mark.parametrize("name", ["", "a\0b", "a/b", "x" * 300])
async def test_a_malformed_name_is_not_found(records, name):
    for call in (records.get, records.delete):
        with pytest.raises(NotFound):
            await call("ada", "voice", name)


async def test_without_a_database_the_setting_is_named_in_the_error():
    records = open_records("", 4)
    await records.start()
    with pytest.raises(FailedPrecondition, match="POLYPHONY_SPEECH_DATABASE_URL"):
        await records.names("ada", "voice")
    await records.stop()
    with pytest.raises(FailedPrecondition, match="memory:"):
        open_records("mysql://host/database", 4)


async def test_the_role_sees_no_row_without_a_tenant(database_url):
    records = open_records(database_url, 2)
    await records.start()
    await until(lambda: records.ready)
    await records.create("ada", "voice", "anna", {})
    async with records._pool.connection() as connection:
        assert await (await connection.execute("SELECT * FROM speech.records")).fetchall() == []
        assert await (await connection.execute("SELECT current_user")).fetchone() == ("polyphony_speech",)
    await records.stop()
