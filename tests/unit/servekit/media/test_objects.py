"""Objects: named by their content, bounded, expiring, and each its tenant's own."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import textwrap
import tracemalloc

import pytest
from polyphony.type.v1.media_pb2 import Media

from servekit.errors import InvalidArgument, NotFound, TooLarge
from servekit.media.objects import ObjectMetadata, ObjectStore

PIECE = bytes(range(256)) * 4096  # 1 MiB


async def pieces(count: int):
    for _ in range(count):
        yield PIECE


def test_the_reference_is_the_hash(store):
    reference = asyncio.run(store.put("acme", b"hello", "text/plain", None))
    assert reference == "sha256:" + hashlib.sha256(b"hello").hexdigest()


async def test_what_is_put_is_read_with_its_type(store, clock):
    reference = await store.put("acme", b"hello", "text/plain; charset=utf-8", 60)
    assert await store.read("acme", reference, 5) == b"hello"
    assert await store.metadata("acme", reference) == ObjectMetadata("text/plain; charset=utf-8", 5, clock.now + 60)


async def test_nothing_is_an_object_too(store):
    assert await store.read("acme", await store.put("acme", b"", "", None), 0) == b""


async def test_another_tenants_object_does_not_exist(store):
    reference = await store.put("acme", b"secret", "text/plain", None)
    for act in (
        store.read("other", reference, 100),
        store.delete("other", reference),
        store.metadata("other", reference),
    ):
        with pytest.raises(NotFound):
            await act
    assert await store.read("acme", reference, 100) == b"secret"


async def test_a_stream_is_hashed_on_its_way(store):
    reference = await store.put("acme", pieces(12), "video/mp4", None, max_bytes=12 * len(PIECE))
    assert reference == "sha256:" + hashlib.sha256(PIECE * 12).hexdigest()
    assert b"".join([piece async for piece in store.stream("acme", reference)]) == PIECE * 12


async def test_a_large_upload_is_never_whole_in_memory(tmp_path):
    store = ObjectStore(str(tmp_path))
    tracemalloc.start()
    reference = await store.put("acme", pieces(100), "video/mp4", None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (await store.metadata("acme", reference)).size == 100 * len(PIECE)
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
        await store.put("acme", endless(), "video/mp4", None, max_bytes=10 * len(PIECE), field="file")
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

    upload = asyncio.create_task(store.put("acme", stalls(), "video/mp4", None))
    await arrived.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    with pytest.raises(NotFound):
        await store.metadata("acme", "sha256:" + hashlib.sha256(PIECE * 8).hexdigest())


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

        asyncio.run(ObjectStore(sys.argv[1]).put("acme", stalls(), "video/mp4", None))
    """)
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    store = ObjectStore(str(tmp_path))
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left
    with pytest.raises(NotFound):
        asyncio.run(store.metadata("acme", "sha256:" + hashlib.sha256(bytes(16 << 20)).hexdigest()))
    asyncio.run(store.collect_garbage(left[0].stat().st_mtime + 3600))
    assert left[0].exists()
    asyncio.run(store.collect_garbage(left[0].stat().st_mtime + 25 * 3600))
    assert not left[0].exists()


async def test_a_damaged_object_is_not_found(tmp_path):
    store = ObjectStore(str(tmp_path))
    reference = await store.put("acme", b"hello", "text/plain", None)
    (tmp_path / "acme" / "objects" / reference.removeprefix("sha256:")).write_bytes(b"he")
    with pytest.raises(NotFound):
        await store.read("acme", reference, 100)
    await store.put("acme", b"hello", "text/plain", None)
    assert await store.read("acme", reference, 100) == b"hello"


async def test_reading_is_bounded(store):
    reference = await store.put("acme", b"hello", "text/plain", None)
    with pytest.raises(TooLarge) as caught:
        await store.read("acme", reference, 4, "image")
    assert caught.value.field == "image"


async def test_what_has_expired_is_gone_and_then_collected(store, clock):
    short = await store.put("acme", b"short", "text/plain", 10)
    long = await store.put("other", b"long", "text/plain", None)
    clock.now += 10
    with pytest.raises(NotFound):
        await store.read("acme", short, 100)
    assert await store.collect_garbage(clock.now - 1) == 0
    assert await store.collect_garbage(clock.now) == 1
    assert await store.collect_garbage(clock.now) == 0
    assert await store.read("other", long, 100) == b"long"


@pytest.mark.parametrize(
    ("first", "second", "expires"), [(10, 60, 1065), (60, 10, 1060), (None, 10, None), (10, None, None)]
)
async def test_storing_again_prolongs_never_shortens(store, clock, first, second, expires):
    reference = await store.put("acme", b"hello", "text/plain", first)
    clock.now += 5
    assert await store.put("acme", b"hello", "text/plain", second) == reference
    assert (await store.metadata("acme", reference)).expires == expires


async def test_deleting(store):
    reference = await store.put("acme", b"hello", "text/plain", None)
    await store.delete("acme", reference)
    with pytest.raises(NotFound):
        await store.read("acme", reference, 100)
    with pytest.raises(NotFound):
        await store.delete("acme", reference)


async def test_callers_that_store_the_same_at_once_agree(store):
    references = await asyncio.gather(*(store.put("acme", pieces(6), "video/mp4", None) for _ in range(8)))
    assert len(set(references)) == 1
    assert len(await store.read("acme", references[0], 1 << 30)) == 6 * len(PIECE)


@pytest.mark.parametrize("tenant", ["", "..", ".", "a/b", "../a", "a\\b", "a b", "ä", "a" * 200, "a\n", ".hidden"])
async def test_a_tenants_name_is_no_path(store, tenant):
    with pytest.raises(InvalidArgument) as caught:
        await store.put(tenant, b"x", "text/plain", None)
    assert caught.value.field == "tenant"
    with pytest.raises(InvalidArgument):
        await store.read(tenant, "sha256:" + "0" * 64, 1)
    with pytest.raises(InvalidArgument):
        await store.list_records(tenant, "file")


@pytest.mark.parametrize(
    "reference", ["", "sha256:", "0" * 64, "sha256:" + "A" * 64, "sha256:../../etc", "md5:" + "0" * 32]
)
async def test_a_malformed_reference_names_its_field(store, reference):
    with pytest.raises(InvalidArgument) as caught:
        await store.read("acme", reference, 1, "image.reference")
    assert caught.value.field == "image.reference"


@pytest.mark.parametrize("mime_type", ["text", "text/plain\r\nSet-Cookie: a=b", "text/pläin", "a/" + "b" * 300])
async def test_a_mime_type_that_is_none_is_refused(store, mime_type):
    with pytest.raises(InvalidArgument) as caught:
        await store.put("acme", b"x", mime_type, None)
    assert caught.value.field == "mime_type"


async def test_media_are_resolved_wherever_they_are(store):
    reference = await store.put("acme", b"hello", "image/png", None)
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
    reference = await store.put("acme", pieces(3), "video/mp4", None)
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
    media = Media(reference=await store.put("acme", b"12345", "audio/wav", None))
    for tenant, error in (("acme", TooLarge), ("other", NotFound)):
        with pytest.raises(error):
            async with store.open(media, tenant, 4, "audio"):
                pass
