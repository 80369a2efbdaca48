"""Media sources: what they resolve to, and how often their bytes are copied on the way."""

import base64
import tracemalloc

import pytest
from polyphony.type.v1.media_pb2 import Media

from gateway.media.resolver import InlineSource, UrlSource, parse_media_source
from servekit.errors import InvalidArgument, NotFound, TooLarge

SIZE = 1 << 20
LIMIT = 4 * SIZE


@pytest.fixture
def resolver(build):
    return build(max_inline_media_bytes=2 * SIZE).media_resolver


def peak_of_source(text):
    tracemalloc.start()
    try:
        source = parse_media_source(text, "image_url")
        return source, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_data_url_is_decoded_with_one_copy_of_its_text():
    data = bytes(range(256)) * (SIZE // 256)
    source, peak = peak_of_source("data:image/png;base64," + base64.b64encode(data).decode())
    assert source == InlineSource([data], "image/png")
    assert peak < 2.5 * SIZE  # the text as ASCII, 4/3, and the bytes


@pytest.mark.parametrize(
    "text", ["data:image/png,abc", "data:;base64", "data:;base64,a", "data:;base64,é", "data:;base64,", "ftp://x", ""]
)
def test_an_invalid_source_is_refused_by_its_field(text):
    with pytest.raises(InvalidArgument) as caught:
        parse_media_source(text, "image_url")
    assert caught.value.field == "image_url"


def test_an_http_url_is_a_source():
    assert parse_media_source("https://example.com/a,b.png", "image_url") == UrlSource("https://example.com/a,b.png")


async def chunks(count, size):
    for _ in range(count):
        yield bytes(size)


async def test_chunks_are_joined_once_while_they_are_small_and_stored_above(resolver, state):
    tracemalloc.start()
    try:
        media = await resolver.receive(chunks(16, SIZE // 16), "audio/wav", "default", "file")
        assert tracemalloc.get_traced_memory()[1] < 2.2 * SIZE  # the chunks, and their bytes
    finally:
        tracemalloc.stop()
    assert (len(media.inline), media.mime_type) == (SIZE, "audio/wav")
    large = await resolver.receive(chunks(3, SIZE), "audio/wav", "default", "file")
    assert await state.store.size("default", large.reference) == 3 * SIZE
    with pytest.raises(InvalidArgument, match="file must not be empty"):
        await resolver.receive(chunks(0, 0), "audio/wav", "default", "file")


async def test_media_of_a_grpc_caller_pass_by_reference_or_inline_and_are_stored_when_large(resolver, state):
    stored = Media(mime_type="image/png", reference=await state.store.put_transient("default", b"stored"))
    assert await resolver.resolve(stored, "default", LIMIT, "image") is stored
    with pytest.raises(TooLarge, match="image must have at most 5 bytes, got 6"):
        await resolver.resolve(stored, "default", 5, "image")
    with pytest.raises(NotFound) as refused:
        await resolver.resolve(stored, "other", LIMIT, "image")
    assert refused.value.field == "image"
    small = Media(mime_type="image/png", inline=b"x")
    assert await resolver.resolve(small, "default", LIMIT, "image") is small
    large = await resolver.resolve(Media(mime_type="image/png", inline=bytes(3 * SIZE)), "default", LIMIT, "image")
    assert await state.store.size("default", large.reference) == 3 * SIZE
    with pytest.raises(TooLarge, match=f"image must have at most {LIMIT} bytes"):
        await resolver.resolve(Media(inline=bytes(LIMIT + 1)), "default", LIMIT, "image")
