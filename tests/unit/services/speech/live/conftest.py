"""Live transcription on a scripted model."""

import asyncio
import threading
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from polyphony.speech.v1 import transcription_pb2 as pb

from servekit.errors import ServeError
from servekit.models.catalogue import ModelSpec
from servekit.ops.telemetry import Telemetry
from servekit.scheduling.batch import BatchScheduler
from servekit.tasks.repository import Models
from services.speech.live.live import LiveTranscription
from services.speech.settings import SpeechSettings
from services.speech.transcription import RecognizedWord, Segment, WindowResult
from tests.unit.services.speech.doubles import TranscriberDouble

SPEC = ModelSpec(
    id="mind",
    task="transcribe",
    services=("speech",),
    runtime="t",
    title="t",
    licence="CC0-1.0",
    memory_mb=1,
    aliases=["m"],
)
SECOND = 16_000


class Loudness:
    """Whatever is loud is speech."""

    def stream(self):
        return self

    def process(self, steps):
        return (np.abs(steps).max(axis=1, initial=0) > 0.01).astype(np.float32)


@dataclass(eq=False)
class Mind(TranscriberDouble):
    """Recognizes a word for every half second, or the scripted texts."""

    texts: list[str] = field(default_factory=list)
    windows: list = field(default_factory=list)
    seconds: float = 0.0
    errors: list[ServeError] = field(default_factory=list)
    began: threading.Event = field(default_factory=threading.Event)
    language: str = "en"
    doubts: int = 0  # finals that are handed back

    def run(self, windows, cancellation):
        (window,) = windows
        self.windows.append(window)
        self.began.set()
        self.work(cancellation)
        if self.errors:
            return [self.errors.pop(0)]
        if self.doubts and not window.interim:
            self.doubts -= 1
            return [replace(window, state=self)]
        words = [f"w{n}" for n in range(int(window.seconds * 2))]
        text = self.texts.pop(0) if self.texts else " ".join(words)
        times = tuple(RecognizedWord(n / 2, n / 2 + 0.5, word, 0.9) for n, word in enumerate(words))
        wanted = times if window.options.word_times else ()
        segments = (Segment(0, window.seconds, text, -0.1, 0.0, words=wanted),) if text else ()
        return [WindowResult(self.language if text else "", 0.9, segments)]


@pytest.fixture
def mind():
    return Mind()


@pytest.fixture
def limits(tmp_path):
    return SpeechSettings(
        home=tmp_path, max_live_streams=2, max_live_seconds=60, live_idle_timeout_seconds=5,
        live_interim_interval_seconds=0.5, live_queue_timeout_seconds=1, max_prompt_characters=20,
    )  # fmt: skip


@pytest.fixture
async def scheduler(mind, limits):
    scheduler = BatchScheduler(SPEC, [mind], Telemetry(limits), max_batch_cost=0, max_queue_cost=100)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


@pytest.fixture
def live(scheduler, limits):
    return LiveTranscription(Models([scheduler]), Loudness(), limits)


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
    return [event async for event in live.transcribe(requests(*messages, **options))]


def kinds(events):
    return [event.WhichOneof("event") for event in events]


def finals(events):
    return [event.final for event in events if event.HasField("final")]
