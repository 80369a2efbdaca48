"""Long recordings beside a short caller: the memory of the speech service, and how long the short one waits.

`python -m benchmarks.long_file --picture docs/pictures/long-file.svg` draws it, too.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import grpc
import numpy as np
import psutil
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest
from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceStub
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.type.v1.media_pb2 import Media

from benchmarks.report import BenchmarkResult, Say, Verdict
from benchmarks.running import alone
from servekit.media.audio_encoder import AudioEncoder, encode_audio
from servekit.media.objects import ObjectStore
from servekit.rpc.context import DEFAULT_TENANT

# A talk that says the same again within half a minute would be doubted, and heard twice.
WHO = ("The old captain", "My neighbour", "A young engineer", "Nobody on the train", "The second visitor")
DID = ("carried a wooden box", "asked for the morning paper", "forgot the way", "had counted the lamps")
WHERE = ("across the market square", "before the rain began", "behind the railway station")
SAYINGS = tuple(f"{WHO[n % 5]} {DID[n % 4]} {WHERE[n % 3]}." for n in range(24))
SPEECH_MINUTES = 20.0
SILENCE_MINUTES = 180.0
WORD_EVERY_SECONDS = 300.0  # in the silent one
CALL_EVERY_SECONDS = 4.0  # the short caller's pause between two calls
IDLE_CALLS = 5
WARMING_MINUTES = 5.0  # of speech, after which the memory is expected to stay
SAMPLE_SECONDS = 0.2  # between two looks at the memory
DEADLINE_SECONDS = 3600.0

Sound = NDArray[np.float32]


@dataclass
class Watched:
    """What was seen while one recording was heard.

    Attributes:
        rest_mb: The process's memory before.
        moments: When, in seconds from its beginning, and how much memory there was.
        waits: When a short call began, and how many seconds it took.
        seconds: How long it took.
        heard: How long the recording is.
    """

    rest_mb: float
    moments: list[tuple[float, float]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    heard: float = 0.0

    @property
    def grown_mb(self) -> float:
        """The most memory over the rest."""
        return max(memory for _, memory in self.moments) - self.rest_mb

    @property
    def longest_wait(self) -> float:
        """Of the short caller."""
        return max((seconds for _, seconds in self.waits), default=0.0)


class BenchmarkClient:
    """Calls a speech service.

    Args:
        channel: To it.
        store: The folder where it looks for media.
    """

    def __init__(self, channel: grpc.Channel, store: ObjectStore) -> None:
        self._transcription, self._synthesis = TranscriptionServiceStub(channel), SynthesisServiceStub(channel)
        self._store = store

    def speak(self, text: str) -> Sound:
        """A text, spoken at 24 kHz."""
        events = self._synthesis.Synthesize(SynthesizeRequest(text=text), timeout=60)
        return np.frombuffer(b"".join(event.chunk for event in events), "<i2").astype(np.float32) / np.float32(32768)

    def hear(self, audio: Media) -> tuple[float, float]:
        """Have a recording written down. Returns how long that took, and how long the recording is."""
        began = time.perf_counter()
        *_, last = self._transcription.Transcribe(
            TranscribeRequest(audio=audio, language="en"), timeout=DEADLINE_SECONDS
        )
        return time.perf_counter() - began, float(last.finished.duration_seconds)

    def keep(self, pieces: Iterator[bytes], mime_type: str) -> Media:
        """Put a recording where the service finds it, a piece at a time."""

        async def sent() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        reference = asyncio.run(self._store.put(DEFAULT_TENANT, sent(), mime_type, None))
        return Media(mime_type=mime_type, reference=reference)


def encoded(sounds: Iterator[Sound], mime_type: str, rate: int) -> Iterator[bytes]:
    """Sounds, one after another, as one stream."""
    encoder = AudioEncoder(mime_type, rate)
    for sound in sounds:
        yield encoder.encode(sound)
    yield encoder.finish()


def talk(sayings: list[Sound], rate: int, minutes: float, pause: float) -> Iterator[Sound]:
    """Sayings with pauses in between, for so long."""
    silence, left, number = np.zeros(rate * 10, np.float32), int(minutes * 60 * rate), 0
    while left > 0:
        gap = int(pause * rate)
        while gap > 0:
            yield silence[:gap]
            gap -= len(silence)
        saying = sayings[number % len(sayings)]
        yield saying
        left -= len(saying) + int(pause * rate)
        number += 1


@contextmanager
def watching(pid: int, seen: Watched) -> Iterator[None]:
    """Look at a process's memory all the while."""
    process, over, began = psutil.Process(pid), threading.Event(), time.perf_counter()

    def look() -> None:
        while not over.wait(SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                seen.moments.append((time.perf_counter() - began, process.memory_info().rss / 2**20))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def beside(caller: BenchmarkClient, pid: int, long: Media, short: Media) -> Watched:
    """Hear a long recording while a short caller calls again and again."""
    seen = Watched(psutil.Process(pid).memory_info().rss / 2**20)
    over, began = threading.Event(), time.perf_counter()

    def call() -> None:
        while not over.wait(CALL_EVERY_SECONDS):
            seen.waits.append((time.perf_counter() - began, caller.hear(short)[0]))

    thread = threading.Thread(target=call)
    with watching(pid, seen):
        thread.start()
        try:
            seen.seconds, seen.heard = caller.hear(long)
        finally:
            over.set()
            thread.join()
    return seen


def measure(say: Say, picture: Path | None = None) -> BenchmarkResult:
    """Hear 20 minutes of speech, twice, then three hours that are mostly silence."""
    with (
        tempfile.TemporaryDirectory() as folder,
        alone("speech", "embedded", OBJECT_STORE=folder) as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        caller, rate = BenchmarkClient(channel, ObjectStore(folder)), 24_000
        say("making the recordings")
        sayings = [caller.speak(text) for text in SAYINGS]
        short = Media(inline=encode_audio(np.concatenate(sayings)[: 5 * rate], "audio/wav", rate))
        half_a_minute = np.concatenate(list(talk(sayings, rate, 0.5, 0.7)))
        window = Media(inline=encode_audio(half_a_minute[: 29 * rate], "audio/wav", rate))
        speech = caller.keep(encoded(talk(sayings, rate, SPEECH_MINUTES, 0.7), "audio/mpeg", rate), "audio/mpeg")
        pauses = talk(sayings, rate, SILENCE_MINUTES, WORD_EVERY_SECONDS)
        silence = caller.keep(encoded(pauses, "audio/opus", rate), "audio/opus")
        say("the short caller alone")
        window_seconds = max(caller.hear(window)[0] for _ in range(2))
        idle_seconds = median(caller.hear(short)[0] for _ in range(IDLE_CALLS))
        say("20 minutes of speech")
        spoken = beside(caller, service.pid, speech, short)
        say("the same once more, with engines that are warm")
        again = beside(caller, service.pid, speech, short)
        say("three hours of silence")
        silent = beside(caller, service.pid, silence, short)
    bound = 2 * idle_seconds + window_seconds
    if picture:
        draw(picture, (spoken, again, silent), idle_seconds, bound)
    slowest = max(spoken.longest_wait, again.longest_wait)
    rows = {
        name: {
            "minutes of sound": seen.heard / 60,
            "s": seen.seconds,
            "MB over rest": seen.grown_mb,
            "short calls": len(seen.waits),
            "short p50 s": median(seconds for _, seconds in seen.waits),
            "short longest s": seen.longest_wait,
        }
        for name, seen in (("speech, mp3", spoken), ("the same, warm", again), ("mostly silence, opus", silent))
    }
    alone_row = {"short p50 s": idle_seconds, "a full window s": window_seconds}
    return BenchmarkResult(
        "Long recordings, and a caller with 5 s beside them",
        {"nothing long": alone_row, **rows},
        (
            Verdict("memory, a further minute of speech", growth(spoken, again), "at most", 2.0, "MB"),
            Verdict("memory, three hours of silence", silent.grown_mb, "at most", 300.0, "MB"),
            Verdict("5 s beside speech, over twice alone and a window", slowest / bound, "at most", 1.0),
            Verdict("5 s beside silence, over twice alone and a window", silent.longest_wait / bound, "at most", 1.0),
        ),
    )


def growth(*watched: Watched) -> float:
    """MB that a minute of sound took, by the line through the memory of recordings heard one after another.

    Of the first minutes the engines are warm for good; what they take by then is not counted, only what goes on. The
    allocator keeps some 50 MB, or gives them back, at moments of its own: one recording is too short for a line.
    """
    minutes, memory = list[float](), list[float]()
    heard = 0.0
    for seen in watched:
        minutes += [heard + second / seen.seconds * seen.heard / 60 for second, _ in seen.moments]
        memory += [at for _, at in seen.moments]
        heard += seen.heard / 60
    first = np.searchsorted(minutes, WARMING_MINUTES)
    return float(np.polyfit(minutes[first:], memory[first:], 1)[0])


def draw(path: Path, watched: Sequence[Watched], idle: float, bound: float) -> None:
    """The memory and the short caller's waits, the recordings side by side."""
    with rc_context({"font.size": 9, "svg.hashsalt": "polyphony"}):
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        axes = figure.subplots(2, len(watched), sharex="col", sharey="row")
        titles = "20 minutes of speech (mp3)", "the same once more", "3 hours, mostly silence (opus)"
        for column, (title, seen) in enumerate(zip(titles, watched, strict=True)):
            memory, waits = axes[0][column], axes[1][column]
            memory.set_title(f"{title}\nheard in {seen.seconds:.0f} s")
            memory.plot(*zip(*seen.moments, strict=True), color="#1f6f8b", linewidth=1.2)
            memory.axhline(seen.rest_mb, color="#888888", linewidth=0.8, linestyle="--")
            waits.plot(*zip(*seen.waits, strict=True), ".", color="#b5502f", markersize=4)
            waits.axhline(idle, color="#888888", linewidth=0.8, linestyle="--")
            waits.axhline(bound, color="#b5502f", linewidth=0.8)
            waits.set_xlabel("seconds since it began")
        axes[0][0].set_ylabel("memory of the service, MB\n(dashed: before)")
        axes[0][0].set_ylim(bottom=0)
        axes[1][0].set_ylabel("another's 5 s clip, s\n(dashed: alone; line: allowed)")
        axes[1][0].set_ylim(bottom=0)
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure, print, and draw where it is told to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_file", description=__doc__)
    parser.add_argument("--picture", type=Path)
    picture = parser.parse_args().picture
    result = measure(lambda what: print(what, flush=True), picture)
    for name, row in result.rows.items():
        print(name, {column: round(value, 2) for column, value in row.items()})
    for verdict in result.verdicts:
        print(f"{verdict.what}: {verdict.value:.2f} {verdict.unit}, {verdict.bound} {verdict.target:g}", verdict.holds)


if __name__ == "__main__":
    main()
