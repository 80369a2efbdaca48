"""Records with bytes of their own, where another replica or a failing object store interferes."""

import asyncio
import time
from dataclasses import dataclass, replace

import pytest

from servekit.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from servekit.media.bucket import Bucket
from services.speech.records import open_records
from services.speech.records.blob_records import REQUEST_SECONDS, BlobRecords


@dataclass(frozen=True)
class Song:
    seconds: float
    reference: str = ""


@pytest.fixture
def records():
    return open_records("memory:", 1)


@pytest.fixture
def songs(tmp_path, records):
    return BlobRecords(Bucket(str(tmp_path)), records, "pop-song", Song)


def blobs(tmp_path):
    return list((tmp_path / "ada" / "blobs" / "pop-song").iterdir())


async def add(songs, name, data=b"la la", song=Song(3.0)):
    async with songs.blob("ada", data) as reference:
        await songs.create("ada", name, replace(song, reference=reference))


async def test_a_record_and_its_bytes_belong_to_a_tenant(songs, tmp_path):
    await add(songs, "one")
    song = await songs.get("ada", "one")
    assert (song.seconds, await songs.read("ada", "one", song, 10)) == (3.0, b"la la")
    assert (await songs.names("ada"), await songs.all("ada")) == (["one"], {"one": song})
    assert await songs.all("bob") == {}
    for call in (songs.get("bob", "one", "song"), songs.delete("bob", "one", "song"), songs.get("ada", "a/b", "song")):
        with pytest.raises(NotFound, match="no pop song named") as raised:
            await call
        assert raised.value.field == "song"
    await songs.delete("ada", "one")
    assert await songs.names("ada") == blobs(tmp_path) == []


async def test_records_of_the_same_bytes_each_have_their_own(songs, tmp_path):
    for name in ("one", "two"):
        await add(songs, name)
    await songs.delete("ada", "one")
    assert await songs.read("ada", "two", await songs.get("ada", "two"), 10) == b"la la"
    await songs.delete("ada", "two")
    assert not blobs(tmp_path)


async def test_of_several_replicas_one_creates_a_name(tmp_path, records):
    replicas = [BlobRecords(Bucket(str(tmp_path)), records, "pop-song", Song) for _ in range(4)]
    calls = (add(songs, "one", b"%d" % number) for number, songs in enumerate(replicas))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    errors = [outcome for outcome in outcomes if outcome]
    assert [(type(error), error.field) for error in errors] == [(AlreadyExists, "name")] * 3
    song = await replicas[0].get("ada", "one")
    assert (await replicas[0].read("ada", "one", song, 10)).isdigit()
    assert len(blobs(tmp_path)) == 1


@pytest.mark.parametrize("failure", [Unavailable("no answer"), asyncio.CancelledError()])
async def test_bytes_without_a_record_are_deleted(songs, tmp_path, monkeypatch, records, failure):
    async def fail(*_):
        raise failure

    await add(songs, "one")
    monkeypatch.setattr(records, "create", fail)
    for data in (b"la la", b"tra la la"):
        with pytest.raises(type(failure)):
            await add(songs, "two", data)
    assert [path.read_bytes() for path in blobs(tmp_path)] == [b"la la"]


@pytest.mark.parametrize("fields", [{}, {"seconds": "long"}, {"seconds": None, "reference": None}])
async def test_a_record_of_another_release_is_named_and_can_be_deleted(songs, records, fields):
    await records.create("ada", "pop-song", "one", fields)
    await add(songs, "two")
    with pytest.raises(FailedPrecondition, match="the pop song 'one' is damaged"):
        await songs.get("ada", "one")
    assert (await songs.names("ada"), list(await songs.all("ada"))) == (["one", "two"], ["two"])
    assert await songs.sweep(0.0) == 0
    await songs.delete("ada", "one")
    assert await songs.names("ada") == ["two"]


async def test_a_sweep_deletes_old_bytes_without_a_record(songs, records, tmp_path):
    await add(songs, "one", b"la la")
    await add(songs, "two", b"tra la")
    await records.delete("ada", "pop-song", "one")  # as a process does that is killed before it deletes the bytes
    assert await songs.sweep(time.time()) == 0
    assert await songs.sweep(time.time() + REQUEST_SECONDS + 60) == 1
    assert [path.read_bytes() for path in blobs(tmp_path)] == [b"tra la"]
    assert await songs.read("ada", "two", await songs.get("ada", "two"), 10) == b"tra la"


async def test_a_record_without_its_bytes_is_damaged(songs, tmp_path):
    await add(songs, "one")
    blobs(tmp_path)[0].unlink()
    with pytest.raises(FailedPrecondition, match="damaged") as raised:
        await songs.read("ada", "one", await songs.get("ada", "one"), 10, "song")
    assert raised.value.field == "song"
    await songs.delete("ada", "one")
    assert await songs.names("ada") == []
