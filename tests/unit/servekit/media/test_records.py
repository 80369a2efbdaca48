"""Records: small facts that are kept beside the objects."""

import asyncio

import pytest

from servekit.errors import AlreadyExists, InvalidArgument, NotFound
from servekit.media.bucket import Bucket
from servekit.media.records import RecordStore


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return RecordStore(Bucket(str(tmp_path / "a store") if request.param == "folder" else "memory:///"))


async def test_records_are_kept_by_tenant_kind_and_name(store):
    await store.create_record("acme", "file", "file-2", {"bytes": 2, "name": "Übung"})
    await store.create_record("acme", "file", "file-1", {"bytes": 3})
    await store.create_record("acme", "batch", "b", {})
    await store.create_record("other", "file", "file-3", {})
    assert await store.get_record("acme", "file", "file-2") == {"bytes": 2, "name": "Übung"}
    assert list((await store.list_records("acme", "file")).items()) == [
        ("file-1", {"bytes": 3}),
        ("file-2", {"bytes": 2, "name": "Übung"}),
    ]
    await store.delete_record("acme", "file", "file-1")
    assert list(await store.list_records("acme", "file")) == ["file-2"]
    for act in (store.get_record("acme", "file", "file-3"), store.delete_record("acme", "file", "file-1")):
        with pytest.raises(NotFound):
            await act
    with pytest.raises(InvalidArgument):
        await store.get_record("acme", "file", "../file-2")


async def test_a_name_that_is_free_is_given_once(store):
    outcomes = await asyncio.gather(
        *(store.create_record("acme", "model", "m.1", {"by": number}) for number in range(5)), return_exceptions=True
    )
    (winner,) = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert all(isinstance(outcome, AlreadyExists) for outcome in outcomes if outcome is not None)
    assert await store.get_record("acme", "model", "m.1") == {"by": winner}
    await store.create_record("other", "model", "m.1", {})
    await store.create_record("acme", "model", "m.10", {})
    assert await store.record_names("acme", "model") == ["m.1", "m.10"]


async def test_no_records_are_an_empty_list(store):
    assert await store.list_records("nobody", "file") == {}
