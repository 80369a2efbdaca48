"""Objects: named by their content, bounded, expiring, and each its tenant's own."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc

import pytest
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument, NotFound, TooLarge
from servekit.media.objects import ObjectStore

PIECE = bytes(range(256)) * 4096  # 1 MiB


async def pieces(count: int):
    for _ in range(count):
        yield PIECE


def test_the_reference_is_the_hash(store):
    reference = asyncio.run(store.put_transient("acme", b"hello"))
    assert reference == "sha256:" + hashlib.sha256(b"hello").hexdigest()


async def test_stored_bytes_are_read_back(store):
    reference = await store.put_transient("acme", b"hello")
    assert await store.read("acme", reference, 5) == b"hello"
    assert await store.size("acme", reference) == 5


async def test_empty_bytes_can_be_stored(store):
    assert await store.read("acme", await store.put_transient("acme", b""), 0) == b""


async def test_a_staged_object_is_found_once_it_is_published_until_it_is_deleted(store, clock):
    staged = await store.stage("acme", b"hello")
    with pytest.raises(NotFound):
        await store.read("acme", staged.reference, 5)
    await store.publish(staged)
    clock.now += 10 * 365 * 24 * 3600
    await store.sweep(clock.now)
    assert await store.read("acme", staged.reference, 5) == b"hello"
    assert await store.digests("acme", 0) == []
    assert await store.digests("acme", 4e9) == [staged.digest]
    await store.delete("acme", staged.digest)
    await store.delete("acme", staged.digest)
    with pytest.raises(NotFound):
        await store.read("acme", staged.reference, 5)


async def test_a_discarded_object_leaves_nothing(tmp_path):
    store = ObjectStore(str(tmp_path))
    await store.discard(await store.stage("acme", b"hello"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_another_tenants_object_does_not_exist(store):
    reference = await store.put_transient("acme", b"secret")
    for act in (store.read("other", reference, 100), store.size("other", reference)):
        with pytest.raises(NotFound):
            await act
    assert await store.read("acme", reference, 100) == b"secret"


async def test_a_stream_is_hashed_on_its_way(store):
    staged = await store.stage("acme", pieces(12), max_bytes=12 * len(PIECE))
    assert (staged.reference, staged.size) == ("sha256:" + hashlib.sha256(PIECE * 12).hexdigest(), 12 * len(PIECE))
    await store.publish(staged)
    assert b"".join([piece async for piece in store.stream("acme", staged.reference)]) == PIECE * 12


async def test_a_large_upload_is_never_whole_in_memory(tmp_path):
    store = ObjectStore(str(tmp_path))
    tracemalloc.start()
    staged = await store.stage("acme", pieces(100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert staged.size == 100 * len(PIECE)
    assert peak < 10 * len(PIECE)


async def test_too_many_bytes_are_refused_as_they_arrive_and_leave_nothing(tmp_path):
    store = ObjectStore(str(tmp_path))
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 1
            yield PIECE

    with pytest.raises(TooLarge) as caught:
        await store.stage("acme", endless(), max_bytes=10 * len(PIECE), field="file")
    assert caught.value.field == "file"
    assert sent < 30
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_caller_that_leaves_in_the_middle_leaves_nothing_readable(tmp_path):
    store = ObjectStore(str(tmp_path))
    arrived = asyncio.Event()

    async def stalls():
        for _ in range(8):
            yield PIECE
        arrived.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(store.put_transient("acme", stalls()))
    await arrived.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    with pytest.raises(NotFound):
        await store.size("acme", "sha256:" + hashlib.sha256(PIECE * 8).hexdigest())


def test_a_killed_process_leaves_nothing_readable_and_the_rest_is_swept(tmp_path):
    script = textwrap.dedent("""
        import asyncio, sys
        from servekit.media.objects import ObjectStore

        async def stalls():
            for _ in range(16):
                yield bytes(1 << 20)
            await asyncio.sleep(0.2)
            print("ready", flush=True)
            await asyncio.sleep(60)

        asyncio.run(ObjectStore(sys.argv[1]).put_transient("acme", stalls()))
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    store = ObjectStore(str(tmp_path))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left
    with pytest.raises(NotFound):
        asyncio.run(store.size("acme", "sha256:" + hashlib.sha256(bytes(16 << 20)).hexdigest()))
    asyncio.run(store.sweep(left[0].stat().st_mtime + 3600))
    assert left[0].exists()
    asyncio.run(store.sweep(left[0].stat().st_mtime + 25 * 3600))
    assert not left[0].exists()


async def test_bytes_of_another_size_than_recorded_are_not_found(tmp_path):
    store = ObjectStore(str(tmp_path))
    staged = await store.stage("acme", b"hello")
    await store.publish(staged)
    (tmp_path / "acme" / "objects" / staged.digest).write_bytes(b"he")
    with pytest.raises(NotFound):
        [chunk async for chunk in store.stream("acme", staged.reference, size=5)]
    await store.publish(await store.stage("acme", b"hello"))
    assert [chunk async for chunk in store.stream("acme", staged.reference, size=5)] == [b"hello"]


async def test_reading_is_bounded(store):
    reference = await store.put_transient("acme", b"hello")
    with pytest.raises(TooLarge) as caught:
        await store.read("acme", reference, 4, "image")
    assert caught.value.field == "image"


async def test_transient_media_expire_an_hour_after_their_last_write_and_are_swept(tmp_path, clock):
    store = ObjectStore(str(tmp_path), clock)
    old, new = await store.put_transient("acme", b"old"), await store.put_transient("acme", b"new")
    clock.now = written = time.time()
    path = tmp_path / "acme" / "transient" / old.removeprefix("sha256:")
    os.utime(path, (written - 3601, written - 3601))
    with pytest.raises(NotFound):
        await store.read("acme", old, 100)
    assert await store.sweep(clock.now - 60) == 0
    assert await store.sweep(clock.now) == 1
    assert not path.exists()
    assert await store.read("acme", new, 100) == b"new"
    os.utime(tmp_path / "acme" / "transient" / new.removeprefix("sha256:"), (written - 3601, written - 3601))
    assert await store.put_transient("acme", b"new") == new
    assert await store.sweep(clock.now) == 0
    assert await store.read("acme", new, 100) == b"new"


async def test_callers_that_store_the_same_at_once_agree(store):
    references = await asyncio.gather(*(store.put_transient("acme", pieces(6)) for _ in range(8)))
    assert len(set(references)) == 1
    assert len(await store.read("acme", references[0], 1 << 30)) == 6 * len(PIECE)


@pytest.mark.parametrize("tenant", ["", "..", ".", "a/b", "../a", "a\\b", "a b", "ä", "a" * 200, "a\n", ".hidden"])
async def test_a_tenants_name_is_no_path(store, tenant):
    with pytest.raises(InvalidArgument) as caught:
        await store.put_transient(tenant, b"x")
    assert caught.value.field == "tenant"
    with pytest.raises(InvalidArgument):
        await store.read(tenant, "sha256:" + "0" * 64, 1)


@pytest.mark.parametrize(
    "reference", ["", "sha256:", "0" * 64, "sha256:" + "A" * 64, "sha256:../../etc", "md5:" + "0" * 32]
)
async def test_a_malformed_reference_names_its_field(store, reference):
    with pytest.raises(InvalidArgument) as caught:
        await store.read("acme", reference, 1, "image.reference")
    assert caught.value.field == "image.reference"


async def test_media_are_resolved_wherever_they_are(store):
    reference = await store.put_transient("acme", b"hello")
    assert await store.resolve(Media(reference=reference), "acme", 5, "image") == b"hello"
    assert await store.resolve(Media(inline=b"hello"), "acme", 5, "image") == b"hello"
    for media, error, field in (
        (Media(reference=reference), TooLarge, "image.reference"),
        (Media(inline=b"hello"), TooLarge, "image.inline"),
        (Media(), InvalidArgument, "image"),
        (Media(inline=b""), InvalidArgument, "image"),
        (Media(reference="sha256:" + "0" * 64), NotFound, "image.reference"),
    ):
        with pytest.raises(error) as caught:
            await store.resolve(media, "acme", 4, "image")
        assert caught.value.field == field


async def test_media_open_as_a_file_wherever_they_are(store):
    reference = await store.put_transient("acme", pieces(3))
    for media in (Media(reference=reference), Media(inline=PIECE * 3)):
        async with store.open(media, "acme", 3 * len(PIECE), "audio") as file:
            assert file.read(4) == PIECE[:4]
            assert file.seek(0, 2) == 3 * len(PIECE)
            file.seek(len(PIECE))
            assert file.read() == PIECE * 2
        assert file.closed or media.inline


@pytest.mark.parametrize(
    ("media", "error", "field"),
    [
        (Media(), InvalidArgument, "audio"),
        (Media(inline=b"12345"), TooLarge, "audio.inline"),
        (Media(reference="../x"), InvalidArgument, "audio.reference"),
        (Media(reference="sha256:" + "0" * 64), NotFound, "audio.reference"),
    ],
)
async def test_what_cannot_be_opened_is_named(store, media, error, field):
    with pytest.raises(error) as caught:
        async with store.open(media, "acme", 4, "audio"):
            pass
    assert caught.value.field == field


async def test_a_stored_object_that_is_too_large_or_anothers_is_not_opened(store):
    media = Media(reference=await store.put_transient("acme", b"12345"))
    for tenant, error in (("acme", TooLarge), ("other", NotFound)):
        with pytest.raises(error):
            async with store.open(media, tenant, 4, "audio"):
                pass
