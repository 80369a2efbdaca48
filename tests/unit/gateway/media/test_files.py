"""Files: what was acknowledged is there, and nothing else is for long."""

import asyncio
import errno
import os
import time
from dataclasses import replace

import psycopg
import pytest

from gateway.media.files import Files
from gateway.records import open_records
from gateway.records.rows import VectorStoreRecord
from servekit.errors import NotFound, Unavailable
from servekit.media.objects import ObjectStore
from tests.watching import until

TEN_YEARS = 10 * 365 * 24 * 3600


@pytest.fixture(params=["memory", "postgresql"])
async def records(request):
    url = "memory:" if request.param == "memory" else request.getfixturevalue("database_url")
    records = open_records(url, 4)
    await records.start()
    await until(lambda: records.ready)
    yield records
    await records.stop()


@pytest.fixture
def store(tmp_path):
    return ObjectStore(str(tmp_path))


@pytest.fixture
def files(store, records):
    return Files(store, records)


async def chunks(content):
    yield content


async def upload(files, records, content, tenant="ada", **fields):
    received = await files.receive(tenant, chunks(content), "a.txt", "text/plain")
    await records.finish_upload(tenant, replace(received, **fields))
    return received


def stored(tmp_path):
    """The contents of what is stored."""
    return sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def test_bytes_are_deleted_at_once_with_the_last_file_that_has_them(files, records, store, tmp_path):
    first, second = [await upload(files, records, b"same") for _ in range(2)]
    other = await upload(files, records, b"same", "bob")
    await files.delete("ada", first.id)
    assert await store.read("ada", second.reference, 10) == b"same"
    await files.delete("ada", second.id)
    assert stored(tmp_path) == [b"same"]
    with pytest.raises(NotFound):
        await files.delete("ada", second.id)
    await files.delete("bob", other.id)
    assert stored(tmp_path) == []


async def test_a_deletion_is_acknowledged_where_the_bytes_cannot_be_deleted_yet(files, records, store, monkeypatch):
    async def fail(*_):
        raise Unavailable("the object store does not answer")

    file = await upload(files, records, b"some")
    with monkeypatch.context() as patch:
        patch.setattr(store.bucket, "remove", fail)
        await files.delete("ada", file.id)
    with pytest.raises(NotFound):
        await records.file("ada", file.id)
    assert await store.read("ada", file.reference, 10) == b"some"
    assert await files.sweep(time.time()) == 1
    with pytest.raises(NotFound):
        await store.read("ada", file.reference, 10)


async def test_a_sweep_ten_years_later_leaves_only_files_without_an_expiry(files, records, store, tmp_path, request):
    """Everything that ever left bytes behind: see the comments."""
    now = int(time.time())
    await upload(files, records, b"kept")
    await upload(files, records, b"expired", expires_at=now + 60)
    await upload(files, records, b"another tenant's", "bob", expires_at=now + 60)
    await files.receive("ada", chunks(b"upload that never ends"), "b.txt", "text/plain")
    staged = await store.stage("ada", b"process killed before the record")
    assert staged.size
    await store.publish(await store.stage("carol", b"no record at all"))
    await store.put_transient("ada", b"a request's media")
    (tmp_path / "ada" / "uploads" / "1#2").write_bytes(b"a part of an upload of a killed process")
    await records.add_vector_store("ada", VectorStoreRecord("vs_1", "docs", now, {}))
    deleted = await upload(files, records, b"deleted")
    await records.remove_file("ada", deleted.id)  # and then the process was killed
    assert await files.sweep(now - 60) == 1  # no sweep waits for a time to delete what nothing refers to
    assert len(stored(tmp_path)) == 8
    await files.sweep(now + TEN_YEARS)
    assert stored(tmp_path) == [b"kept"]
    assert await records.tenants() == ["ada"]
    assert [file.size for file in await records.files("ada")] == [4]
    assert await files.sweep(now + TEN_YEARS) == 0
    if "postgresql" in request.node.name:
        with psycopg.connect(request.getfixturevalue("database_url")) as connection:  # the owner, a superuser
            tables = ("tenants", "objects", "files", "vector_stores", "vector_store_files")
            counts = [connection.execute(f"SELECT count(*) FROM gateway.{table}").fetchone() for table in tables]
        assert counts == [(1,), (1,), (1,), (1,), (0,)]


async def test_an_upload_of_bytes_that_a_sweep_deletes_is_kept(files, records, store, tmp_path):
    """Old bytes without a record, found by a sweep, while a file of the same bytes is uploaded."""
    await store.publish(await store.stage("ada", b"old"))
    old = time.time() - 2 * 24 * 3600
    for path in (tmp_path / "ada" / "objects").iterdir():
        os.utime(path, (old, old))
    remove, deleting, staged = store.bucket.remove, asyncio.Event(), asyncio.Event()

    async def slowly(path):
        deleting.set()
        await staged.wait()
        await remove(path)

    async def content():
        await deleting.wait()
        yield b"old"
        staged.set()

    store.bucket.remove = slowly
    received, removed = await asyncio.gather(
        files.receive("ada", content(), "a.txt", "text/plain"), files.sweep(time.time())
    )
    await records.finish_upload("ada", received)
    assert removed == 1
    assert await store.read("ada", received.reference, 10) == b"old"


async def test_an_upload_that_the_disk_does_not_take_leaves_nothing(files, records, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unavailable):
        await upload(files, records, b"some")
    assert stored(tmp_path) == await records.files("ada") == await records.unreferenced("ada") == []


async def test_an_object_that_cannot_be_deleted_does_not_keep_the_others(files, records, store, tmp_path):
    remove, refused = store.bucket.remove, []

    async def fail_first(path):
        if not refused:
            refused.append(path)
            raise Unavailable("the object store does not answer")
        await remove(path)

    for content in (b"one", b"two"):
        await records.remove_file("ada", (await upload(files, records, content)).id)
    store.bucket.remove = fail_first
    assert await files.sweep(time.time()) == 1
    assert len(stored(tmp_path)) == 1
    assert await files.sweep(time.time()) == 1
    assert stored(tmp_path) == []


async def test_without_a_database_only_transient_media_and_uploads_are_swept(store, tmp_path):
    files = Files(store, open_records("", 1))
    await store.publish(await store.stage("ada", b"a file of other gateways"))
    await store.put_transient("ada", b"transient")
    await files.sweep(time.time() + TEN_YEARS)
    assert stored(tmp_path) == [b"a file of other gateways"]
