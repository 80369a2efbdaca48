"""The object store of version 0.1, as it left it."""

import asyncio
import json
import time

import pytest

from gateway.media.files import Files
from gateway.media.version_0_1 import import_records
from gateway.records import open_records
from servekit.media.objects import ObjectStore

FILE = {"filename": "a.txt", "size": 4, "mime_type": "text/plain", "purpose": "assistants", "created_at": 5}
STORE = {"id": "vs_1", "name": "docs", "created_at": 5, "metadata": {"kind": "test"}}
INDEXED = {
    "store_id": "vs_1",
    "file_id": "file-1",
    "filename": "a.txt",
    "size": 4,
    "chunks": 1,
    "created_at": 5,
    "attributes": {"page": 1.5},
}


@pytest.fixture
async def gateways(database_url):
    gateways = [open_records(database_url, 4) for _ in range(2)]
    for records in gateways:
        await records.start()
    async with asyncio.timeout(15):
        while not all(records.ready for records in gateways):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.02)
    yield gateways
    for records in gateways:
        await records.stop()


@pytest.fixture
async def references(tmp_path):
    """Writes what version 0.1 wrote, and returns the references by content."""

    def write(name, fields):
        path = tmp_path / "ada" / "records" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields))

    store, references = ObjectStore(str(tmp_path)), {}
    for content in (b"kept", b"gone", b"hers", b"song"):
        staged = await store.stage("ada", content)
        await store.publish(staged)
        references[content] = staged.reference
        write(f"object/{staged.digest}", {"mime_type": "text/plain", "size": 4, "expires": None})
    expired = int(time.time()) - 5
    write("file/file-1", {"id": "file-1", **FILE, "reference": references[b"kept"], "expires_at": None})
    write("file/file-2", {"id": "file-2", **FILE, "reference": references[b"gone"], "expires_at": expired})
    write("file/file-3", {"id": "file-3"})
    write("store/vs_1", STORE)
    write("in-vs_1/file-1", INDEXED)
    write("in-vs_2/file-1", {**INDEXED, "store_id": "vs_2"})
    write("voice/anna", {"reference": references[b"hers"]})
    return references


async def test_files_and_vector_stores_are_imported_once_by_several_gateways(gateways, references, tmp_path):
    store = ObjectStore(str(tmp_path))
    await asyncio.gather(*(import_records(store, records) for records in gateways))
    records = gateways[0]
    assert await import_records(store, records) == 0
    [file] = await records.files("ada")
    assert (file.id, file.reference, file.purpose) == ("file-1", references[b"kept"], "assistants")
    assert [one.name for one in await records.vector_stores("ada")] == ["docs"]
    assert [one.attributes for one in await records.indexed("ada", "vs_1")] == [{"page": 1.5}]
    await Files(store, records).sweep(time.time() + 2 * 24 * 3600)
    left = sorted(path.read_bytes() for path in (tmp_path / "ada" / "objects").iterdir())
    assert left == [b"hers", b"kept"]  # of the voice, and of the file without expiry


async def test_nothing_is_swept_before_it_is_imported(gateways, references, tmp_path):
    store = ObjectStore(str(tmp_path))
    await Files(store, gateways[0]).sweep(time.time() + 2 * 24 * 3600)
    assert len(list((tmp_path / "ada" / "objects").iterdir())) == 4
    await import_records(store, gateways[0])
    assert await store.read("ada", references[b"kept"], 4) == b"kept"
