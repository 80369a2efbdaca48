"""Live streams: backpressure, and how they end."""

import asyncio

import pytest

from servekit.errors import Cancelled, Overloaded, TooLarge, Unavailable
from servekit.tasks.repository import Models
from services.speech.live.live import LiveTranscription
from services.speech.service import build
from services.speech.settings import SpeechSettings
from tests.stubs import SpeechStub
from tests.watching import until

from .conftest import Loudness, answers, audio, config, finals, kinds, requests, sound


async def heard_until(live, error, *messages, **options):
    """The events before the error."""
    events = []
    with pytest.raises(error) as raised:  # noqa: PT012
        async for event in live.transcribe(requests(*messages, **options)):
            events.append(event)
    return events, raised.value


async def test_a_stream_that_stalls_ends_with_its_last_words_and_an_error(scheduler, limits):
    live = LiveTranscription(
        Models([scheduler]), Loudness(), limits.model_copy(update={"live_idle_timeout_seconds": 0.2})
    )

    async def stalling():
        yield config(final_only=True)
        yield sound(audio((0.5, 1)))
        await asyncio.sleep(60)

    events = []
    with pytest.raises(Cancelled, match=r"no message was received for 0\.2 s"):  # noqa: PT012
        async for event in live.transcribe(stalling()):
            events.append(event)
    assert kinds(events) == ["started", "utterance_started", "final"]


async def test_a_stream_that_is_too_long_ends_with_its_last_words_and_an_error(live):
    events, error = await heard_until(live, TooLarge, config(final_only=True), audio((0.5, 61)), piece=1 << 20)
    assert error.field == "audio"
    assert len(finals(events)) >= 2


async def test_a_service_that_stops_says_so_after_the_last_words(live):
    async def endless():
        yield config(final_only=True)
        yield sound(audio((0.5, 1)))
        await asyncio.sleep(60)

    events = []
    with pytest.raises(Unavailable, match="stopping"):  # noqa: PT012
        async for event in live.transcribe(endless()):
            events.append(event)
            if event.HasField("utterance_started"):
                await live.drain()
    assert kinds(events) == ["started", "utterance_started", "final"]


async def test_a_stream_faster_than_the_model_is_not_read_ahead(live, mind):
    mind.seconds = 0.2
    read = 0

    async def fast():
        nonlocal read
        yield config(final_only=True)
        for _ in range(12):
            yield sound(audio((0.5, 1), (0, 1)))
            read += 1

    most = 0
    seen = 0
    async for event in live.transcribe(fast()):
        if event.HasField("final"):
            seen += 1
            most = max(most, read - seen)
    assert seen == 12
    assert most <= 5


async def test_answers_that_nobody_reads_stop_the_reading(live):
    read = 0

    async def fast():
        nonlocal read
        yield config()
        for _ in range(50):
            yield sound(audio((0.5, 1), (0, 1)))
            read += 1

    events = live.transcribe(fast())
    await anext(events)
    await anext(events)
    await asyncio.sleep(0.3)
    assert read <= 5
    await events.aclose()


async def test_the_number_of_live_streams_is_bounded(live):
    open_streams = [live.transcribe(requests(config())) for _ in range(2)]
    for stream in open_streams:
        await anext(stream)
    with pytest.raises(Overloaded) as raised:
        await answers(live, config())
    assert raised.value.retry_after
    for stream in open_streams:
        await stream.aclose()
    assert kinds(await answers(live, config())) == ["started", "finished"]


async def test_over_grpc_a_server_that_stops_lets_the_phrase_end(serve, dial, tmp_path):
    settings = SpeechSettings(profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, drain_timeout_seconds=5)
    server = await serve(settings, build)
    stub = SpeechStub(dial(server, "polyphony.speech.v1.TranscriptionService"))

    async def endless():
        yield config(sample_rate_hertz=16_000)
        yield sound(audio((0.5, 1)))
        await asyncio.sleep(60)

    events = stub.StreamingTranscribe(endless())
    heard = [await anext(events), await anext(events)]
    stopping = asyncio.create_task(server.stop())
    with pytest.raises(Unavailable, match="stopping"):  # noqa: PT012
        async for event in events:
            heard.append(event)
    assert kinds(heard)[-1] == "final"
    assert heard[-1].final.segment.text
    await asyncio.wait_for(stopping, 3)


async def test_over_grpc_a_caller_that_leaves_gives_its_place_back(serve, dial, tmp_path):
    settings = SpeechSettings(profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, max_live_streams=1)
    server = await serve(settings, build)
    stub = SpeechStub(dial(server, "polyphony.speech.v1.TranscriptionService"))
    running = server._telemetry.requests_in_flight.labels("TranscriptionService/StreamingTranscribe")._value
    for _ in range(3):
        events = stub.StreamingTranscribe(requests(config(), audio((0.5, 1)), pace=1.0))
        assert (await anext(events)).HasField("started")
        await events.aclose()
        await until(lambda: not running.get())
