"""Expired media go by themselves."""

import asyncio

import pytest

from gateway.media.sweep import sweep_forever
from servekit.errors import NotFound
from servekit.media.objects import ObjectStore


async def test_expired_objects_are_deleted_and_others_kept(tmp_path):
    store = ObjectStore(str(tmp_path))
    old = await store.put("default", b"old", "text/plain", 0.0)
    kept = await store.put("default", b"kept", "text/plain", 3600.0)
    (doomed,) = (path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"old")
    sweeper = asyncio.create_task(sweep_forever(store, 0.01))
    try:
        for _ in range(2000):
            await asyncio.sleep(0.01)
            if not doomed.exists():
                break
        else:
            pytest.fail("the expired object is still there")
    finally:
        sweeper.cancel()
    with pytest.raises(NotFound):
        await store.read("default", old, 10)
    assert await store.read("default", kept, 10) == b"kept"
