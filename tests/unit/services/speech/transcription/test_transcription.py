"""A recording heard window by window: in order, in its own time, two windows at a time, one admission."""

import asyncio
import threading
import time
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from polyphony.type.v1.media_pb2 import Media

from servekit.context import CancellationToken, RequestContext, enter
from servekit.errors import DeadlineExceeded, InvalidArgument, NotFound, Overloaded, Unavailable
from servekit.media.audio_encoder import encode_audio
from servekit.media.objects import ObjectStore
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.audio.recording import Recordings
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, TranscriptionOptions, WindowResult, transcription
from services.speech.transcription.transcription import (
    LongFormTranscriber,
    TranscriptFinished,
    TranscriptProgress,
    TranscriptStarted,
)
from services.speech.voice_activity.models.fake import FakeSpeechDetector
from services.speech.voice_activity.voice_activity import DEFAULT_VAD_OPTIONS, VadOptions
from tests.unit.services.speech.doubles import TranscriberDouble
from tests.watching import until

RATE = 16_000
SPEC = ModelSpec(
    id="transcriber", task="transcribe", services=("speech",), runtime="t", title="t", licence="CC0-1.0", memory_mb=1
)


class ScriptedTranscriber(TranscriberDouble):
    """A segment a window, over all of it, with its first and its last half second as words."""

    def __init__(self):
        self.windows = []
        self.seconds = 0.0
        self.languages = iter(())
        self.doubts = 0  # windows that are handed back
        self.began = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.may_end.set()

    def run(self, items, cancellation):
        return [self.transcribe_window(window, cancellation) for window in items]

    def transcribe_window(self, window, cancellation):
        self.windows.append(window)
        self.began.release()
        assert self.may_end.wait(10)
        self.work(cancellation)
        if self.doubts:
            self.doubts -= 1
            return replace(window, state=window)
        language = window.options.language or next(self.languages, "en")
        if not language:
            return WindowResult("", 0.0, ())
        end = window.seconds
        words = (RecognizedWord(0.0, 0.5, "so", 0.9), RecognizedWord(end - 0.5, end, "on", 0.9))
        return WindowResult(language, 0.8, (Segment(0.0, end, "so on", -0.1, 0.0, words=words),))


def media(*stretches):
    """Loudness and seconds of each stretch."""
    samples = np.concatenate([np.full(int(seconds * RATE), loud, np.float32) for loud, seconds in stretches])
    return Media(inline=encode_audio(samples, "audio/wav", RATE))


def talk(windows, pause=3.0):
    """So many windows of speech, each of 20 s after a pause."""
    return media(*((loud, seconds) for _ in range(windows) for loud, seconds in ((0.0, pause), (0.5, 20.0))))


@pytest.fixture
def transcriber():
    return ScriptedTranscriber()


@pytest.fixture
async def scheduler(transcriber):
    settings = SpeechSettings()
    scheduler = BatchScheduler(
        SPEC, [transcriber], Telemetry(settings), max_batch_cost=0, max_queue_cost=2000, prepares=False
    )
    await scheduler.start()
    yield scheduler
    await scheduler.close()


@pytest.fixture
def hear(scheduler, tmp_path):
    recordings = Recordings(ObjectStore(str(tmp_path)), SpeechSettings())
    transcriptions = LongFormTranscriber(Models([scheduler]), FakeSpeechDetector())

    async def hear(media, language="en", vad_options=DEFAULT_VAD_OPTIONS, **more):
        options = TranscriptionOptions(language=language, **more)
        async with (
            recordings.open(media, "audio") as recording,
            aclosing(transcriptions.transcribe(recording, options, "", vad_options)) as events,
        ):
            async for event in events:
                yield event

    return hear


async def everything(events):
    """What was heard, however slowly."""
    return [event async for event in events if not isinstance(event, TranscriptProgress)]


async def test_segments_come_in_order_with_the_times_of_the_recording(hear, transcriber):
    started, *segments, finished = await everything(hear(talk(4)))
    assert started == TranscriptStarted("en", 1.0, "transcriber")
    assert [segment.text for segment in segments] == ["so on"] * 4
    begins = [3.0 - 0.4 + 23 * number for number in range(4)]
    assert [segment.start for segment in segments] == pytest.approx(begins, abs=0.05)
    assert [segment.end for segment in segments] == pytest.approx([23 * n + 23.4 for n in range(3)] + [92], abs=0.05)
    assert [word.start for word in segments[1].words] == pytest.approx([25.6, 45.9], abs=0.1)
    assert finished.duration == pytest.approx(92.0)
    assert finished.speech == pytest.approx(83, abs=0.5)
    assert all(window.seconds <= 30 for window in transcriber.windows)


async def test_words_of_a_window_of_many_spans_lie_in_their_own(hear):
    _, segment, _ = await everything(hear(media((0, 5), (0.5, 2), (0, 5), (0.5, 2), (0, 60))))
    assert [(word.start, word.end) for word in segment.words] == [
        (pytest.approx(4.6, abs=0.05), pytest.approx(5.1, abs=0.05)),
        (pytest.approx(13.9, abs=0.05), pytest.approx(14.4, abs=0.05)),
    ]
    assert (segment.start, segment.end) == (segment.words[0].start, segment.words[-1].end)


async def test_the_first_window_with_speech_settles_the_language(hear, transcriber):
    transcriber.languages = iter(["", "de", "fr"])
    events = await everything(hear(talk(4), language="", prompt="Names", hotwords=("Zoe",)))
    assert [type(event) for event in events] == [TranscriptStarted, Segment, Segment, Segment, TranscriptFinished]
    assert (events[0].language, events[0].probability) == ("de", 0.8)
    assert [window.options.language for window in transcriber.windows] == ["", "", "de", "de"]
    assert [window.options.prompt for window in transcriber.windows] == ["Names", "", "", ""]
    assert {window.options.hotwords for window in transcriber.windows} == {("Zoe",)}


async def test_silence_is_no_error_and_never_reaches_the_model(hear, transcriber):
    silence = media((0, 90))
    assert await everything(hear(silence, language="")) == [
        TranscriptStarted("", 0.0, "transcriber"),
        TranscriptFinished(90.0, 0.0),
    ]
    assert (await everything(hear(silence, language="de")))[0] == TranscriptStarted("de", 1.0, "transcriber")
    assert transcriber.windows == []
    heard = await everything(hear(silence, vad_options=VadOptions(threshold=0.0)))
    assert len(transcriber.windows) == 3 + 1  # the quietest moment is before the thirtieth second
    assert heard[-1].speech == 90.0


async def test_at_most_two_windows_are_in_flight(hear, transcriber, scheduler):
    transcriber.seconds = 0.1
    most = 0
    async for _ in hear(talk(5)):
        snapshot = scheduler.snapshot()
        most = max(most, snapshot.queued_items + snapshot.runs)
    assert most <= 2


async def test_a_window_is_decoded_again_after_those_of_other_recordings(hear, transcriber, scheduler):
    transcriber.doubts = 1
    transcriber.may_end.clear()
    long = asyncio.create_task(everything(hear(talk(1))))
    await asyncio.to_thread(transcriber.began.acquire)
    short = asyncio.create_task(everything(hear(media((0.5, 2)))))
    await until_waiting(scheduler, 1)
    transcriber.may_end.set()
    heard = await asyncio.gather(long, short)
    assert [[event.text for event in events if isinstance(event, Segment)] for events in heard] == [["so on"]] * 2
    runs = [(window.seconds > 10, bool(window.state)) for window in transcriber.windows]
    assert runs == [(True, False), (False, False), (True, True)]


async def test_a_reader_that_stalls_is_waited_for(hear, transcriber):
    events = hear(talk(8))
    await anext(events)
    await anext(events)
    await asyncio.sleep(0.3)
    assert len(transcriber.windows) <= 3
    assert len(await everything(events)) == 7 + 1


async def test_progress_is_sent_while_there_is_no_text(hear, transcriber, monkeypatch):
    monkeypatch.setattr(transcription, "PROGRESS_SECONDS", 0.1)
    transcriber.seconds = 0.35
    progress = [event async for event in hear(talk(3)) if isinstance(event, TranscriptProgress)]
    assert len(progress) >= 6
    heard = [event.position for event in progress]
    assert heard == sorted(heard)
    assert 0 < heard[0] < 5
    assert heard[-1] > 40
    assert {round(event.claimed) for event in progress} == {69}


async def until_waiting(scheduler, windows):
    await until(lambda: scheduler.snapshot().queued_items >= windows, 10)


async def test_a_short_one_waits_for_a_window_of_a_long_one_and_no_more(hear, transcriber, scheduler):
    transcriber.may_end.clear()
    long = asyncio.ensure_future(everything(hear(talk(10))))
    await until_waiting(scheduler, 1)  # while one runs
    short = asyncio.ensure_future(everything(hear(media((0.5, 5)))))
    await until_waiting(scheduler, 2)
    transcriber.may_end.set()
    await short
    assert [round(window.seconds) for window in transcriber.windows[:2]] == [21, 5]
    assert not long.done()
    long.cancel()


@pytest.mark.serial
async def test_the_whole_is_refused_at_once_where_there_is_no_time_for_it(hear, transcriber):
    transcriber.seconds = 0.4
    await everything(hear(media((0.5, 20))))  # 0.02 s of work for a second of speech
    await asyncio.to_thread(transcriber.began.acquire)
    long = asyncio.ensure_future(everything(hear(talk(20))))
    await asyncio.to_thread(transcriber.began.acquire)
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 8)))
    began = time.monotonic()
    with pytest.raises(Overloaded, match="deadline") as caught:
        await everything(hear(talk(20)))
    assert time.monotonic() - began < 3
    assert caught.value.retry_after > 1
    assert len(await everything(hear(media((0.5, 5))))) == 3
    long.cancel()


async def test_who_leaves_frees_everything(hear, transcriber, scheduler):
    transcriber.seconds = 30
    leaving = asyncio.ensure_future(everything(hear(talk(5))))
    await asyncio.to_thread(transcriber.began.acquire)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    transcriber.seconds = 0
    assert len(await everything(hear(media((0.5, 5))))) == 3
    assert len(transcriber.windows) == 2
    assert scheduler.snapshot().reserved_cost == 0


@pytest.mark.serial
async def test_the_deadline_holds_in_the_middle(hear, transcriber):
    transcriber.seconds = 0.2
    enter(RequestContext(cancellation=CancellationToken(time.monotonic() + 0.5)))
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await everything(hear(talk(20)))
    assert time.monotonic() - began < 2.5


async def test_errors_end_it_whole(hear, transcriber):
    def fail(window, cancellation):
        raise Unavailable("tired")

    transcriber.transcribe_window = fail
    with pytest.raises(Unavailable):
        await everything(hear(talk(3)))
    with pytest.raises(InvalidArgument, match="language"):
        await everything(hear(talk(1), language="xx"))


async def test_an_unknown_model_is_named(scheduler):
    with pytest.raises(NotFound):
        LongFormTranscriber(Models([scheduler]), FakeSpeechDetector()).scheduler("gpt", TranscriptionOptions())
