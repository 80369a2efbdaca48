"""Live transcription on a model that does as it is told: what is stable stays, what is final comes."""

import asyncio
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from polyphony.speech.v1 import speech_pb2 as pb
from polyphony.speech.v1.speech_pb2_grpc import SpeechServiceStub

from servekit.batching import BatchLane
from servekit.call import Call, Flag, enter
from servekit.catalogue import ModelCard
from servekit.errors import (
    Cancelled,
    EngineGone,
    InvalidArgument,
    NotFound,
    Overloaded,
    ServeError,
    TooLarge,
    Unavailable,
)
from servekit.models import Models
from servekit.telemetry import Telemetry
from services.speech.live.live import LiveTranscription
from services.speech.ports.transcriber import Passage, Segment, Word
from services.speech.service import build
from services.speech.settings import SpeechSettings

CARD = ModelCard(
    id="mind", task="transcribe", service="speech", loader="t", title="t", licence="CC0-1.0", memory_mb=1, aliases=["m"]
)
SECOND = 16_000


class Loudness:
    """Whatever is loud is speech."""

    def listen(self):
        return self

    def hear(self, steps):
        return (np.abs(steps).max(axis=1, initial=0) > 0.01).astype(np.float32)


@dataclass(eq=False)
class Mind:
    """Hears a word for every half second, or what it is told to."""

    texts: list[str] = field(default_factory=list)
    windows: list = field(default_factory=list)
    seconds: float = 0.0
    errors: list[ServeError] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    language: str = "en"

    def warm(self): ...

    def close(self): ...

    def check(self, instructions):
        if instructions.language == "xx":
            raise InvalidArgument("no such language", field="language")

    def cost(self, window):
        return window.seconds

    def prepare(self, window):
        return window

    def run(self, windows, flag):
        (window,) = windows
        self.windows.append(window)
        self.began.set()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            flag.check()
            time.sleep(0.005)
        if self.errors:
            return [self.errors.pop(0)]
        words = [f"w{n}" for n in range(int(window.seconds * 2))]
        text = self.texts.pop(0) if self.texts else " ".join(words)
        times = tuple(Word(n / 2, n / 2 + 0.5, word, 0.9) for n, word in enumerate(words))
        wanted = times if window.instructions.word_times else ()
        segments = (Segment(0, window.seconds, text, -0.1, 0.0, words=wanted),) if text else ()
        return [Passage(self.language if text else "", 0.9, segments)]


@pytest.fixture
def mind():
    return Mind()


@pytest.fixture
def limits(tmp_path):
    return SpeechSettings(
        home=tmp_path, live_streams=2, live_seconds=60, live_stall_seconds=5, live_partial_seconds=0.5,
        live_overload_seconds=1, max_prompt_characters=20,
    )  # fmt: skip


@pytest.fixture
async def lane(mind, limits):
    lane = BatchLane(CARD, [mind], Telemetry(limits), max_batch_cost=0, max_queue_cost=100)
    await lane.start()
    yield lane
    await lane.close()


@pytest.fixture
def live(lane, limits):
    return LiveTranscription(Models([lane]), Loudness(), limits)


def audio(*parts):
    """16-bit PCM: (level, seconds) after one another."""
    levels = np.concatenate([np.full(int(seconds * SECOND), level) for level, seconds in parts])
    return (levels * np.where(np.arange(len(levels)) % 2, 32_767, -32_768)).astype("<i2").tobytes()


def config(**fields):
    return pb.StreamingTranscribeRequest(config=pb.StreamingConfig(**fields))


def sound(data):
    return pb.StreamingTranscribeRequest(audio=data)


COMMIT = pb.StreamingTranscribeRequest(commit=pb.CommitUtterance())


async def requests(*messages, pace=0.0, piece=SECOND // 5):
    """Config, then pieces of 0.1 s, `pace` seconds apart."""
    for message in messages:
        if isinstance(message, pb.StreamingTranscribeRequest):
            yield message
            continue
        for begin in range(0, len(message), piece):
            yield sound(message[begin : begin + piece])
            await asyncio.sleep(pace)


async def answers(live, *messages, **options):
    return [event async for event in live.listen(requests(*messages, **options))]


def kinds(events):
    return [event.WhichOneof("event") for event in events]


def finals(events):
    return [event.final for event in events if event.HasField("final")]


async def test_phrases_one_after_another(live, mind):
    mind.texts = []
    speech = audio((0, 0.5), (0.5, 2), (0, 1), (0.5, 1), (0, 0.2))
    events = await answers(live, config(final_only=True, word_times=True), speech)
    assert kinds(events) == ["started", *["utterance_started", "final"] * 2, "finished"]
    assert events[0].started.model == "mind"
    one, two = finals(events)
    assert (one.utterance, two.utterance) == (0, 1)
    assert one.segment.time.start_seconds == pytest.approx(0.5, abs=0.05)
    assert one.segment.time.end_seconds == pytest.approx(2.5, abs=0.05)
    assert one.segment.text.startswith("w0 w1 w2")
    assert one.language == "en"
    assert two.segment.words[0].time.start_seconds == pytest.approx(3.2, abs=0.1)  # of the stream: 0.3 s of padding
    assert events[-1].finished.duration_seconds == pytest.approx(4.7, abs=1e-6)
    assert events[-1].finished.speech_seconds == pytest.approx(3, abs=0.1)


async def test_partials_while_somebody_speaks_force_what_is_stable(live, mind):
    events = await answers(live, config(), audio((0.5, 3), (0, 0.7)), pace=0.02)
    partials = [event.partial for event in events if event.HasField("partial")]
    assert len(partials) >= 2
    assert partials[0].stable_text == ""
    assert partials[-1].stable_text.startswith("w0")
    (final,) = finals(events)
    assert final.segment.text.startswith(partials[-1].stable_text)
    assert any(window.prefix and partials[-1].stable_text.startswith(window.prefix) for window in mind.windows)


@examples(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.lists(st.sampled_from("abc"), max_size=5).map(" ".join), max_size=12))
async def test_stable_text_only_grows_though_the_model_changes_its_mind(live, mind, texts):
    mind.texts = list(texts)
    events = await answers(live, config(), audio((0.5, 2), (0, 0.3), (0.5, 1), (0, 0.7)), pace=0.005)
    mind.texts = []
    stable = ""
    for event in events:
        if event.HasField("partial"):
            assert event.partial.stable_text.startswith(stable)
            stable = event.partial.stable_text
        if event.HasField("final"):
            assert event.final.segment.text.startswith(stable)
            stable = ""
    assert len(finals(events)) == 1


async def test_the_last_decoding_begins_before_the_phrase_has_ended(live, mind):
    mind.seconds = 0.3
    events = await answers(live, config(end_silence_seconds=0.5, final_only=True), audio((0.5, 1), (0, 1)), pace=0.1)
    assert len(mind.windows) == 1  # begun 0.2 s into the silence, done when it is 0.5 s long
    assert 400 <= finals(events)[0].latency_ms < 750


async def test_a_guess_at_a_pause_is_thrown_away_when_speech_goes_on(live, mind):
    speech = audio((0.5, 1), (0, 0.35), (0.5, 1), (0, 0.6))
    (final,) = finals(await answers(live, config(final_only=True), speech, pace=0.05))
    assert len(mind.windows) == 2
    assert final.segment.time.end_seconds == pytest.approx(2.35, abs=0.05)
    assert mind.windows[-1].seconds > 2


async def test_no_window_is_digitally_silent(live, mind):
    await answers(live, config(final_only=True), audio((0.5, 1), (0, 1)))
    (window,) = mind.windows
    quiet = window.samples[-2000:]
    assert np.unique(quiet).size > 1000
    assert np.abs(quiet).max() < 0.005


async def test_silence_is_nothing(live, mind):
    assert kinds(await answers(live, config(), audio((0, 3)))) == ["started", "finished"]
    assert kinds(await answers(live, config())) == ["started", "finished"]
    assert mind.windows == []


async def test_a_commit_ends_the_phrase_and_by_hand_nothing_else_does(live):
    events = await answers(live, config(), COMMIT, audio((0.5, 1)), COMMIT, COMMIT, audio((0.5, 1)))
    assert len(finals(events)) == 2
    by_hand = config(voice_activity=pb.VoiceActivityOptions(disabled=True))
    events = await answers(live, by_hand, audio((0.5, 1), (0, 2), (0.5, 1)), COMMIT, audio((0, 1)), COMMIT)
    one, two = finals(events)
    assert (one.segment.time.start_seconds, two.segment.time.start_seconds) == (0, one.segment.time.end_seconds)


async def test_the_language_stays_once_words_are_stable(live, mind):
    mind.language = "de"
    await answers(live, config(), audio((0.5, 3), (0, 0.7)), pace=0.02)
    assert [window.instructions.language for window in mind.windows if window.prefix][-1] == "de"
    assert mind.windows[0].instructions.language == ""


@pytest.mark.parametrize(
    ("messages", "error", "name"),
    [
        ([], InvalidArgument, "config"),
        ([sound(b"12")], InvalidArgument, "config"),
        ([pb.StreamingTranscribeRequest()], InvalidArgument, "config"),
        ([config(), config()], InvalidArgument, "config"),
        ([config(model="none")], NotFound, "model"),
        ([config(language="xx")], InvalidArgument, "language"),
        ([config(sample_rate_hertz=1)], InvalidArgument, "sample_rate_hertz"),
        ([config(sample_rate_hertz=768_000)], InvalidArgument, "sample_rate_hertz"),
        ([config(end_silence_seconds=0.1)], InvalidArgument, "end_silence_seconds"),
        ([config(end_silence_seconds=float("nan"))], InvalidArgument, "end_silence_seconds"),
        ([config(voice_activity={"threshold": 1.5})], InvalidArgument, "voice_activity.threshold"),
        ([config(voice_activity={"threshold": 0.001})], InvalidArgument, "voice_activity.threshold"),
        ([config(voice_activity={"padding_seconds": -1})], InvalidArgument, "voice_activity.padding_seconds"),
        ([config(prompt="x" * 21)], TooLarge, "prompt"),
        ([config(hotwords=["x" * 11] * 2)], TooLarge, "hotwords"),
    ],
)
async def test_what_is_wrong_is_named(live, messages, error, name):
    with pytest.raises(error) as raised:
        await answers(live, *messages)
    assert raised.value.field == name


async def heard_until(live, error, *messages, **options):
    """The events before the error."""
    events = []
    with pytest.raises(error) as raised:  # noqa: PT012
        async for event in live.listen(requests(*messages, **options)):
            events.append(event)
    return events, raised.value


async def test_a_stream_that_stalls_ends_with_its_last_words_and_an_error(lane, limits):
    live = LiveTranscription(Models([lane]), Loudness(), limits.model_copy(update={"live_stall_seconds": 0.2}))

    async def stalling():
        yield config(final_only=True)
        yield sound(audio((0.5, 1)))
        await asyncio.sleep(60)

    events = []
    with pytest.raises(Cancelled, match=r"nothing came for 0\.2 s"):  # noqa: PT012
        async for event in live.listen(stalling()):
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

    async def stop():
        await asyncio.sleep(0.2)
        await live.drain()

    stopping = asyncio.create_task(stop())
    events = []
    with pytest.raises(Unavailable, match="stopping"):  # noqa: PT012
        async for event in live.listen(endless()):
            events.append(event)
    assert kinds(events) == ["started", "utterance_started", "final"]
    await stopping


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
    async for event in live.listen(fast()):
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

    events = live.listen(fast())
    await anext(events)
    await anext(events)
    await asyncio.sleep(0.3)
    assert read <= 5
    await events.aclose()


async def test_so_many_streams_and_no_more(live):
    open_streams = [live.listen(requests(config())) for _ in range(2)]
    for stream in open_streams:
        await anext(stream)
    with pytest.raises(Overloaded) as raised:
        await answers(live, config())
    assert raised.value.retry_after
    for stream in open_streams:
        await stream.aclose()
    assert kinds(await answers(live, config())) == ["started", "finished"]


async def test_a_busy_lane_costs_partials_and_never_the_final(live, lane, mind):
    assert finals(await answers(live, config(final_only=True), audio((0.5, 1), (0, 1))))  # what a run takes is known
    mind.seconds = 1.0
    busy = asyncio.ensure_future(lane.submit(mind.windows[0], 30.0))
    while not lane.wait_seconds:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    before = len(mind.windows)
    events = await answers(live, config(), audio((0.5, 1.5), (0, 0.7)), pace=0.01)
    assert kinds(events) == ["started", "utterance_started", "final", "finished"]
    assert len(mind.windows) == before + 1
    await busy


async def test_a_full_queue_is_waited_for_and_not_for_ever(live, lane, mind, monkeypatch):
    submit, refusals = lane.submit, 2

    async def refuse(window, cost):
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise Overloaded("full", retry_after=0.05)
        return await submit(window, cost)

    monkeypatch.setattr(lane, "submit", refuse)
    speech = audio((0.5, 1), (0, 1))
    assert len(finals(await answers(live, config(final_only=True), speech))) == 1
    refusals = 1000
    with pytest.raises(Overloaded):
        await answers(live, config(final_only=True), speech)


async def test_an_engine_that_dies_ends_the_stream_only_if_the_last_words_need_it(live, mind):
    mind.errors = [InvalidArgument("odd")]
    events = await answers(live, config(), audio((0.5, 2), (0, 0.7)), pace=0.02)
    assert len(finals(events)) == 1
    mind.errors = [EngineGone("dead")] * 100
    with pytest.raises(EngineGone):
        await answers(live, config(final_only=True), audio((0.5, 1), (0, 1)))


async def test_whoever_leaves_takes_the_running_decoding_along(live, mind, lane):
    mind.seconds = 5
    enter(Call(flag=Flag()))
    stream = live.listen(requests(config(), audio((0.5, 1), (0, 1)), pace=0.0))
    await anext(stream)
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.to_thread(mind.began.wait, 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    began = time.monotonic()
    while lane._running_cost:
        await asyncio.sleep(0.01)
        assert time.monotonic() < began + 2


async def test_over_grpc_a_server_that_stops_lets_the_phrase_end(serve, dial, tmp_path):
    settings = SpeechSettings(profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, drain_seconds=5)
    server = await serve(settings, build)
    stub = SpeechServiceStub(dial(server, "polyphony.speech.v1.SpeechService"))

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
    settings = SpeechSettings(profile="fake", home=tmp_path, port=0, metrics_port=0, threads=1, live_streams=1)
    stub = SpeechServiceStub(dial(await serve(settings, build), "polyphony.speech.v1.SpeechService"))
    for _ in range(3):
        events = stub.StreamingTranscribe(requests(config(), audio((0.5, 1)), pace=1.0))
        assert (await anext(events)).HasField("started")
        await events.aclose()
        await asyncio.sleep(0.1)
