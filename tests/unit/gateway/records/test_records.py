"""The records of the gateway, in memory and in Postgres."""

import asyncio
import time
from dataclasses import replace

import pytest

from gateway.records import open_records
from gateway.records.rows import FileChange, FileRecord, IndexedFile, StoreUsage, VectorStoreRecord
from servekit.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from tests.watching import until

ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture(params=["memory", "postgresql"])
async def records(request):
    url = "memory:" if request.param == "memory" else request.getfixturevalue("database_url")
    records = open_records(url, 4)
    await records.start()
    await until(lambda: records.ready)
    yield records
    await records.stop()


def example(name, digest=ONE, created=100, **fields):
    return FileRecord(name, f"{name}.txt", 5, "text/plain", "user_data", f"sha256:{digest}", created, **fields)


async def add(records, file, tenant="ada"):
    await records.begin_upload(tenant, file)
    await records.finish_upload(tenant, file)
    return file


async def record_attached(records, file, tenant="ada"):
    change = FileChange("c-1", file.store_id, file.file_id, file)
    assert await records.begin_change(tenant, change, 60)
    await records.finish_change(tenant, change)


class Bytes:
    """Bytes in an object store, which count their deletions."""

    def __init__(self):
        self.deleted = 0

    async def delete(self):
        self.deleted += 1


async def test_a_file_is_seen_once_its_upload_has_ended(records):
    file = example("f-1")
    await records.begin_upload("ada", file)
    with pytest.raises(NotFound) as raised:
        await records.file("ada", "f-1", "file")
    assert (raised.value.field, raised.value.message) == ("file", "no file named 'f-1'")
    assert await records.files("ada") == []
    with pytest.raises(NotFound):
        await records.remove_file("ada", "f-1")
    ended = replace(file, purpose="vision", expires_at=int(time.time()) + 60)
    await records.finish_upload("ada", ended)
    assert await records.file("ada", "f-1") == ended
    with pytest.raises(Unavailable):
        await records.finish_upload("ada", ended)


async def test_files_are_listed_newest_first_and_belong_to_their_tenant(records):
    old, new = await add(records, example("f-1", created=1)), await add(records, example("f-2", created=2))
    await add(records, example("f-3"), tenant="bob")
    assert await records.files("ada") == [new, old]
    for call in (records.file("bob", "f-1"), records.remove_file("bob", "f-1")):
        with pytest.raises(NotFound):
            await call
    assert await records.remove_file("ada", "f-1") == old
    assert await records.files("ada") == [new]
    with pytest.raises(NotFound):
        await records.remove_file("ada", "f-1")


async def test_an_expired_file_is_not_found_and_then_deleted(records):
    now = int(time.time())
    await add(records, example("f-1", expires_at=now - 1))
    await add(records, example("f-2", expires_at=now + 60))
    kept = await add(records, example("f-3"))
    for call in (records.file("ada", "f-1"), records.remove_file("ada", "f-1")):
        with pytest.raises(NotFound):
            await call
    assert [file.id for file in await records.files("ada")] == ["f-2", "f-3"]
    assert await records.expire_files("bob", now + 1e9) == 0
    assert await records.expire_files("ada", now) == 1
    assert await records.expire_files("ada", now + 1e9) == 1
    assert await records.files("ada") == [kept]


async def test_an_upload_that_never_ends_expires(records):
    file = example("f-1")
    await records.begin_upload("ada", file)
    assert await records.expire_files("ada", time.time() + 60) == 0
    assert await records.expire_files("ada", time.time() + 7200) == 1
    with pytest.raises(Unavailable, match="send the file again"):
        await records.finish_upload("ada", file)


async def test_bytes_are_deleted_with_the_last_file_that_refers_to_them(records):
    data = Bytes()
    for name in ("f-1", "f-2"):
        await add(records, example(name))
    await records.begin_upload("ada", example("f-3"))
    await add(records, example("f-4"), tenant="bob")
    for _ in range(2):
        await records.remove_file("ada", (await records.files("ada"))[0].id)
        assert not await records.collect("ada", ONE, data.delete)
    assert await records.unreferenced("ada") == []
    await records.abandon_upload("ada", "f-3")
    assert await records.unreferenced("ada") == [ONE]
    assert data.deleted == 0
    assert await records.collect("ada", ONE, data.delete)
    assert (data.deleted, await records.unreferenced("ada")) == (1, [])
    assert await records.unknown("ada", [ONE, TWO]) == [ONE, TWO] or await records.unknown("ada", [ONE]) == [ONE]
    assert await records.unknown("bob", [ONE]) == []


async def test_bytes_without_a_record_are_deleted_too(records):
    data = Bytes()
    assert await records.unknown("ada", [ONE]) == [ONE]
    assert await records.collect("ada", ONE, data.delete)
    assert data.deleted == 1
    assert await records.unreferenced("ada") == []


async def test_bytes_whose_deletion_failed_are_deleted_by_the_next_sweep(records):
    async def fail():
        raise Unavailable("the object store does not answer")

    await add(records, example("f-1"))
    await records.remove_file("ada", "f-1")
    with pytest.raises(Unavailable):
        await records.collect("ada", ONE, fail)
    assert await records.unreferenced("ada") == [ONE]
    assert await records.collect("ada", ONE, Bytes().delete)


async def test_an_upload_waits_while_the_same_bytes_are_deleted(records):
    """The upload stores its bytes after the deletion, which therefore does not delete them."""
    deleting, order = asyncio.Event(), []

    async def delete():
        order.append("deleting")
        deleting.set()
        await asyncio.sleep(0.1)
        order.append("deleted")

    async def upload():
        await deleting.wait()
        await records.begin_upload("ada", example("f-2"))
        order.append("uploading")

    await add(records, example("f-1"))
    await records.remove_file("ada", "f-1")
    collected, _ = await asyncio.gather(records.collect("ada", ONE, delete), upload())
    assert (collected, order) == (True, ["deleting", "deleted", "uploading"])
    assert not await records.collect("ada", ONE, Bytes().delete)
    await records.finish_upload("ada", example("f-2"))


async def test_a_tenant_is_forgotten_with_its_last_record(records):
    await add(records, example("f-1"))
    await records.add_vector_store("bob", VectorStoreRecord("vs_1", "docs", 1, {}))
    for tenant in ("ada", "bob"):
        await records.forget(tenant)
    assert await records.tenants() == ["ada", "bob"]
    await records.remove_file("ada", "f-1")
    await records.collect("ada", ONE, Bytes().delete)
    await records.remove_vector_store("bob", "vs_1")
    for tenant in ("ada", "bob"):
        await records.forget(tenant)
    assert await records.tenants() == []
    await add(records, example("f-2"))
    assert await records.tenants() == ["ada"]


async def test_lists_are_read_in_pages(records):
    files = [await add(records, example(f"f-{number}", created=number // 2)) for number in range(5)]
    stores = [VectorStoreRecord(f"vs_{number}", "", number // 2, {}) for number in range(5)]
    for store in stores:
        await records.add_vector_store("ada", store)
    indexed = [IndexedFile("vs_0", f"f-{number}", "a", 5, 2, number // 2, {}) for number in range(5)]
    for file in indexed:
        await record_attached(records, file)

    async def pages(read, rows):
        after, found = None, []
        while page := await read(2, after):
            found.append([rows.index(row) for row in page])
            after = page[-1]
        return found

    expected = [[4, 2], [3, 0], [1]]  # newest first, and of the same time by id
    assert await pages(lambda limit, after: records.files("ada", limit, after), files) == expected
    assert await pages(lambda limit, after: records.vector_stores("ada", limit, after), stores) == expected
    assert await pages(lambda limit, after: records.indexed("ada", "vs_0", limit, after), indexed) == expected
    assert await records.usage("ada", ["vs_0", "vs_1"]) == {"vs_0": StoreUsage(5, 25)}
    assert await records.usage("bob", ["vs_0"]) == {}


async def test_files_of_one_purpose_are_listed(records):
    vision = await add(records, replace(example("f-1"), purpose="vision"))
    await add(records, example("f-2"))
    assert await records.files("ada", purpose="vision") == [vision]


async def test_vector_stores_and_their_files(records):
    one = VectorStoreRecord("vs_1", "Übung", 1, {"kind": "test"})
    two = VectorStoreRecord("vs_2", "", 2, {})
    for store in (one, two):
        await records.add_vector_store("ada", store)
    assert await records.vector_store("ada", "vs_1") == one
    assert await records.vector_stores("ada") == [two, one]
    assert await records.vector_stores("bob") == []
    old = IndexedFile("vs_1", "f-1", "a.txt", 5, 2, 1, {"lang": "en", "page": 1.5, "draft": True})
    new = IndexedFile("vs_1", "f-2", "b.txt", 6, 3, 2, {})
    for file in (old, new):
        await record_attached(records, file)
    assert await records.indexed("ada", "vs_1") == [new, old]
    again = replace(old, chunks=9, created_at=3)
    await record_attached(records, again)
    assert await records.indexed("ada", "vs_1") == [again, new]
    assert await records.indexed_file("ada", "vs_1", "f-1") == again
    await records.remove_vector_store("ada", "vs_1")
    assert (await records.indexed("ada", "vs_1"), await records.vector_stores("ada")) == ([], [two])


def attaching(name, file="f-1", **fields):
    record = IndexedFile("vs_1", file, "a.txt", 5, 2, 1, {"lang": "en", "page": 1.5})
    return FileChange(name, "vs_1", file, replace(record, **fields))


def detaching(name, file="f-1"):
    return FileChange(name, "vs_1", file, None)


@pytest.fixture
async def with_store(records):
    await records.add_vector_store("ada", VectorStoreRecord("vs_1", "docs", 1, {}))
    return records


async def test_a_file_is_listed_once_it_is_attached_and_until_it_is_detached(with_store):
    records, change = with_store, attaching("c-1")
    assert await records.begin_change("ada", change, 60)
    assert await records.indexed("ada", "vs_1") == []
    await records.finish_change("ada", change)
    assert await records.indexed("ada", "vs_1") == [change.attached]
    again = attaching("c-2", attributes={})
    assert await records.begin_change("ada", again, 60)
    assert await records.indexed("ada", "vs_1") == [change.attached]
    await records.finish_change("ada", again)
    assert await records.indexed("ada", "vs_1") == [again.attached]
    for name in ("c-3", "c-4"):  # what is detached may be detached again
        assert await records.begin_change("ada", detaching(name), 60)
        await records.finish_change("ada", detaching(name))
        assert await records.indexed("ada", "vs_1") == []


async def test_a_file_has_one_change_at_a_time(with_store):
    records = with_store
    begun = await asyncio.gather(*(records.begin_change("ada", attaching(f"c-{n}"), 60) for n in range(4)))
    assert sorted(begun) == [False, False, False, True]
    running = attaching(f"c-{begun.index(True)}")
    assert await records.begin_change("ada", attaching("c-5", "f-2"), 60)
    assert not await records.begin_change("ada", detaching("c-6"), 60)
    assert not await records.extend_change("ada", detaching("c-6"), 60)
    await records.abandon_change("ada", detaching("c-6"))  # another one stays
    with pytest.raises(Unavailable, match="try again"):
        await records.finish_change("ada", detaching("c-6"))
    await records.abandon_change("ada", running)
    assert await records.indexed("ada", "vs_1") == []
    assert await records.begin_change("ada", detaching("c-6"), 60)


async def test_a_change_that_is_late_is_claimed_once(with_store):
    records, late = with_store, [attaching("c-1"), detaching("c-2", "f-2")]
    assert await records.begin_change("ada", attaching("c-3", "f-3"), 60)
    for change in late:
        assert await records.begin_change("ada", change, 0)
    assert not await records.begin_change("ada", attaching("c-4"), 60)  # it must be ended before
    assert await records.claim_changes("bob", 60) == []
    assert sorted(await records.claim_changes("ada", 60), key=lambda change: change.id) == late
    assert await records.claim_changes("ada", 60) == []
    assert await records.extend_change("ada", late[0], 0)
    assert await records.claim_changes("ada", 60) == late[:1]


async def test_changes_end_with_their_vector_store(with_store):
    records, change = with_store, attaching("c-1")
    assert await records.begin_change("ada", change, 0)
    await records.remove_vector_store("ada", "vs_1")
    assert await records.claim_changes("ada", 60) == []
    assert not await records.extend_change("ada", change, 60)
    await records.abandon_change("ada", change)
    with pytest.raises(NotFound):
        await records.finish_change("ada", change)


async def test_a_missing_vector_store_is_not_found_and_its_field_named(records):
    await records.add_vector_store("ada", VectorStoreRecord("vs_1", "docs", 1, {}))
    gone = IndexedFile("vs_2", "f-1", "a.txt", 5, 2, 1, {})
    for call, field in (
        (records.vector_store("bob", "vs_1", "store"), "store"),
        (records.vector_store("ada", "vs\0", "store"), "store"),
        (records.remove_vector_store("bob", "vs_1"), "vector_store_id"),
        (record_attached(records, gone), "vector_store_id"),
        (record_attached(records, replace(gone, store_id="vs_1"), tenant="bob"), "vector_store_id"),
        (records.indexed_file("ada", "vs_1", "f-1"), "file_id"),
        (records.finish_change("ada", FileChange("c-1", "vs_2", "f-1", None)), "vector_store_id"),
        (records.file("ada", "f\0", "file_id"), "file_id"),
    ):
        with pytest.raises(NotFound) as raised:
            await call
        assert raised.value.field == field


async def test_values_that_cannot_be_stored_are_refused_with_their_field(records):
    await records.add_vector_store("ada", VectorStoreRecord("vs_1", "docs", 1, {}))
    indexed = IndexedFile("vs_1", "f-1", "a.txt", 5, 2, 1, {})
    for call, field in (
        (records.begin_upload("ada", replace(example("f-1"), filename="a\0b")), "file"),
        (records.add_vector_store("ada", VectorStoreRecord("vs_2", "a\0", 1, {})), "name"),
        (records.add_vector_store("ada", VectorStoreRecord("vs_2", "a", 1, {"a\0": ""})), "metadata"),
        (record_attached(records, replace(indexed, attributes={"a": "\0"})), "attributes"),
        (record_attached(records, replace(indexed, attributes={"a": float("inf")})), "attributes"),
    ):
        with pytest.raises(InvalidArgument) as raised:
            await call
        assert raised.value.field == field


async def test_without_a_database_the_setting_is_named():
    records = open_records("", 4)
    await records.start()
    with pytest.raises(FailedPrecondition, match="POLYPHONY_GATEWAY_DATABASE_URL"):
        await records.files("ada")
    assert records.ready is None
    await records.stop()
    with pytest.raises(FailedPrecondition) as raised:
        open_records("mysql://user:secret@host/database", 4)
    assert "memory:, postgresql:" in raised.value.message
    assert "secret" not in raised.value.message
