"""Recordings opened and decoded on threads, bit by bit."""

import asyncio
import threading
import time

import numpy as np
import pytest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import Cancelled, InvalidArgument, Overloaded, TooLarge, UnsupportedMedia
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from services.speech.audio.recording import Recordings, through
from services.speech.settings import SpeechSettings

RATE = 16_000


def noise(seconds):
    return np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * RATE)).astype(np.float32)


def wav(seconds):
    return Media(inline=encode_audio(noise(seconds), "audio/wav", RATE))


@pytest.fixture
def recordings(tmp_path):
    settings = SpeechSettings(home=tmp_path, max_audio_seconds=20, max_open_recordings=2)
    return Recordings(ObjectStore(settings.object_store_url), settings)


async def test_a_recording_comes_in_pieces_of_a_second(recordings):
    async with recordings.open(wav(3.5), "audio") as recording:
        assert recording.claimed_seconds == pytest.approx(3.5)
        for rate in (RATE, 48_000, RATE):  # from its beginning, each time
            pieces = [piece async for piece in recording.chunks(rate)]
            assert all(0 < len(piece) <= rate for piece in pieces)
            assert abs(sum(map(len, pieces)) - 3.5 * rate) < 0.01 * rate
            assert len(pieces) <= 5
    np.testing.assert_allclose(np.concatenate(pieces), noise(3.5), atol=1e-4)


async def test_a_caller_may_want_less(recordings):
    async with recordings.open(wav(3.5), "audio", 3.0) as recording:
        with pytest.raises(TooLarge, match="at most 3 seconds") as caught:
            list(recording.samples())
    assert caught.value.field == "audio"


async def test_no_more_are_open_at_once_than_is_allowed(recordings):
    async with recordings.open(wav(1), "audio"), recordings.open(wav(1), "audio"):
        with pytest.raises(Overloaded, match="too many open recordings") as caught:
            async with recordings.open(wav(1), "audio"):
                pass
        assert caught.value.retry_after
    with pytest.raises(InvalidArgument):
        async with recordings.open(Media(), "audio"):
            pass
    async with recordings.open(wav(1), "audio"), recordings.open(wav(1), "audio"):
        pass


async def test_nothing_is_decoded_that_nobody_asks_for(recordings):
    async with recordings.open(wav(10), "audio") as recording:
        chunks = recording.chunks()
        await anext(chunks)
        file = recording._file
        read = file.tell()
        await asyncio.sleep(0.2)
        assert file.tell() == read < 200_000
        await chunks.aclose()


@pytest.mark.parametrize(
    ("media", "error"),
    [(wav(21), TooLarge), (Media(inline=b"words " * 99), UnsupportedMedia), (Media(), InvalidArgument)],
)
async def test_a_recording_that_cannot_be_decoded_names_its_field(recordings, media, error):
    with pytest.raises(error) as caught:
        async with recordings.open(media, "clips[3].audio") as recording:
            [piece async for piece in recording.chunks()]
    assert caught.value.field == "clips[3].audio"


async def test_it_stops_when_nobody_waits(recordings):
    cancellation = CancellationToken()
    enter(RequestContext(cancellation=cancellation))
    async with recordings.open(wav(10), "audio") as recording:
        chunks = recording.chunks()
        await anext(chunks)
        cancellation.cancel()
        with pytest.raises(Cancelled):
            await anext(chunks)


async def test_who_is_cancelled_leaves_when_the_thread_has_returned():
    began, ended = threading.Event(), threading.Event()

    def slow():
        began.set()
        time.sleep(0.3)
        ended.set()

    task = asyncio.create_task(through(slow))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
    with pytest.raises(ZeroDivisionError):
        await through(lambda: 1 / 0)
