"""Long recordings: the memory of the speech service, and the latency of short requests at the same time.

`python -m benchmarks.long_file --picture docs/pictures/long-file.svg` also draws both.
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

from benchmarks.report import BenchmarkResult, Progress, Verdict
from benchmarks.running import service_process
from servekit.context import DEFAULT_TENANT
from servekit.media.audio import pcm_samples
from servekit.media.audio_encoder import AudioEncoder, encode_audio
from servekit.media.objects import ObjectStore

# Sentences differ for half a minute: Whisper decodes a repetitive window twice.
WHO = ("The old captain", "My neighbour", "A young engineer", "Nobody on the train", "The second visitor")
DID = ("carried a wooden box", "asked for the morning paper", "forgot the way", "had counted the lamps")
WHERE = ("across the market square", "before the rain began", "behind the railway station")
SENTENCES = tuple(f"{WHO[n % 5]} {DID[n % 4]} {WHERE[n % 3]}." for n in range(24))
SPEECH_MINUTES = 20.0
SILENCE_MINUTES = 180.0
WORD_EVERY_SECONDS = 300.0  # in the silent one
CALL_EVERY_SECONDS = 4.0  # the pause between two short requests
IDLE_CALLS = 5
WARM_MINUTES = 5.0  # of speech, after which the memory should stay constant
SAMPLE_SECONDS = 0.2  # between two samples of the memory
DEADLINE_SECONDS = 3600.0

Samples = NDArray[np.float32]


@dataclass
class LongRun:
    """The transcription of one long recording.

    Attributes:
        idle_mb: The memory of the process before it, in MB.
        memory: Samples of the memory: seconds since the start, and MB.
        waits: The short requests: seconds since the start, and the latency in seconds.
        seconds: The duration of the transcription.
        audio_seconds: The duration of the recording.
    """

    idle_mb: float
    memory: list[tuple[float, float]] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    audio_seconds: float = 0.0

    @property
    def grown_mb(self) -> float:
        """The most memory above `idle_mb`."""
        return max(memory for _, memory in self.memory) - self.idle_mb

    @property
    def longest_wait(self) -> float:
        """The longest latency of a short request, in seconds."""
        return max((seconds for _, seconds in self.waits), default=0.0)


class BenchmarkClient:
    """Calls a speech service.

    Args:
        channel: A channel to the service.
        store: The object store of the service.
    """

    def __init__(self, channel: grpc.Channel, store: ObjectStore) -> None:
        self._transcription, self._synthesis = TranscriptionServiceStub(channel), SynthesisServiceStub(channel)
        self._store = store

    def synthesize(self, text: str) -> Samples:
        """Synthesize a text, at 24 kHz."""
        events = self._synthesis.Synthesize(SynthesizeRequest(text=text), timeout=60)
        return pcm_samples(b"".join(event.chunk for event in events))

    def transcribe(self, audio: Media) -> tuple[float, float]:
        """Transcribe a recording; return how long that took and how long the recording is, in seconds."""
        began = time.perf_counter()
        *_, last = self._transcription.Transcribe(
            TranscribeRequest(audio=audio, language="en"), timeout=DEADLINE_SECONDS
        )
        return time.perf_counter() - began, float(last.finished.duration_seconds)

    def store_recording(self, chunks: Iterator[bytes], mime_type: str) -> Media:
        """Store a recording, chunk by chunk, in the object store of the service."""

        async def sent() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        reference = asyncio.run(self._store.put_transient(DEFAULT_TENANT, sent()))
        return Media(mime_type=mime_type, reference=reference)


def encoded(parts: Iterator[Samples], mime_type: str, rate: int) -> Iterator[bytes]:
    """Encode recordings, one after another, as one stream."""
    encoder = AudioEncoder(mime_type, rate)
    for samples in parts:
        yield encoder.encode(samples)
    yield encoder.finish()


def speech_with_pauses(sentences: list[Samples], rate: int, minutes: float, pause: float) -> Iterator[Samples]:
    """Yield sentences with pauses between them, for some minutes."""
    silence, left, number = np.zeros(rate * 10, np.float32), int(minutes * 60 * rate), 0
    while left > 0:
        gap = int(pause * rate)
        while gap > 0:
            yield silence[:gap]
            gap -= len(silence)
        sentence = sentences[number % len(sentences)]
        yield sentence
        left -= len(sentence) + int(pause * rate)
        number += 1


@contextmanager
def record_memory(pid: int, run: LongRun) -> Iterator[None]:
    """Sample the memory of a process within the block."""
    process, over, began = psutil.Process(pid), threading.Event(), time.perf_counter()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            with suppress(psutil.NoSuchProcess):
                run.memory.append((time.perf_counter() - began, process.memory_info().rss / 2**20))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def transcribe_with_short_calls(caller: BenchmarkClient, pid: int, long: Media, short: Media) -> LongRun:
    """Transcribe a long recording while another caller sends short ones."""
    run = LongRun(psutil.Process(pid).memory_info().rss / 2**20)
    over, began = threading.Event(), time.perf_counter()

    def call() -> None:
        while not over.wait(CALL_EVERY_SECONDS):
            run.waits.append((time.perf_counter() - began, caller.transcribe(short)[0]))

    thread = threading.Thread(target=call)
    with record_memory(pid, run):
        thread.start()
        try:
            run.seconds, run.audio_seconds = caller.transcribe(long)
        finally:
            over.set()
            thread.join()
    return run


def measure(progress: Progress, picture: Path | None = None) -> BenchmarkResult:
    """Transcribe 20 minutes of speech, twice, then three hours that are mostly silence."""
    with (
        tempfile.TemporaryDirectory() as folder,
        service_process("speech", "embedded", OBJECT_STORE=folder) as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        caller, rate = BenchmarkClient(channel, ObjectStore(folder)), 24_000
        progress("making the recordings")
        sentences = [caller.synthesize(text) for text in SENTENCES]
        short = Media(inline=encode_audio(np.concatenate(sentences)[: 5 * rate], "audio/wav", rate))
        half_a_minute = np.concatenate(list(speech_with_pauses(sentences, rate, 0.5, 0.7)))
        window = Media(inline=encode_audio(half_a_minute[: 29 * rate], "audio/wav", rate))
        speech = caller.store_recording(
            encoded(speech_with_pauses(sentences, rate, SPEECH_MINUTES, 0.7), "audio/mpeg", rate), "audio/mpeg"
        )
        pauses = speech_with_pauses(sentences, rate, SILENCE_MINUTES, WORD_EVERY_SECONDS)
        silence = caller.store_recording(encoded(pauses, "audio/opus", rate), "audio/opus")
        progress("the short caller alone")
        window_seconds = max(caller.transcribe(window)[0] for _ in range(2))
        idle_seconds = median(caller.transcribe(short)[0] for _ in range(IDLE_CALLS))
        progress("20 minutes of speech")
        spoken = transcribe_with_short_calls(caller, service.pid, speech, short)
        progress("the same once more, with engines that are warm")
        again = transcribe_with_short_calls(caller, service.pid, speech, short)
        progress("three hours of silence")
        silent = transcribe_with_short_calls(caller, service.pid, silence, short)
    bound = 2 * idle_seconds + window_seconds
    if picture:
        draw(picture, (spoken, again, silent), idle_seconds, bound)
    slowest = max(spoken.longest_wait, again.longest_wait)
    rows = {
        name: {
            "minutes of audio": run.audio_seconds / 60,
            "s": run.seconds,
            "MB over idle": run.grown_mb,
            "short calls": len(run.waits),
            "short p50 s": median(seconds for _, seconds in run.waits),
            "short longest s": run.longest_wait,
        }
        for name, run in (("speech, mp3", spoken), ("the same, warm", again), ("mostly silence, opus", silent))
    }
    alone_row = {"short p50 s": idle_seconds, "a full window s": window_seconds}
    return BenchmarkResult(
        "Long recordings, and a caller with 5 s beside them",
        {"nothing long": alone_row, **rows},
        (
            Verdict("memory, a further minute of speech", growth_mb_per_minute(spoken, again), "at most", 2.0, "MB"),
            Verdict("memory, three hours of silence", silent.grown_mb, "at most", 300.0, "MB"),
            Verdict("5 s beside speech, over twice alone and a window", slowest / bound, "at most", 1.0),
            Verdict("5 s beside silence, over twice alone and a window", silent.longest_wait / bound, "at most", 1.0),
        ),
    )


def growth_mb_per_minute(*watched: LongRun) -> float:
    """MB of memory per minute of audio: the slope of a line through the memory of recordings one after another.

    The first `WARM_MINUTES`, in which the engines allocate their buffers, are left out. The allocator keeps some 50 MB
    or releases them at times of its own, so that one recording is too short for a line.
    """
    minutes, memory = list[float](), list[float]()
    minutes_before = 0.0
    for run in watched:
        minutes += [minutes_before + second / run.seconds * run.audio_seconds / 60 for second, _ in run.memory]
        memory += [at for _, at in run.memory]
        minutes_before += run.audio_seconds / 60
    first = np.searchsorted(minutes, WARM_MINUTES)
    return float(np.polyfit(minutes[first:], memory[first:], 1)[0])


def draw(path: Path, watched: Sequence[LongRun], idle: float, bound: float) -> None:
    """Draw the memory and the latency of short requests, the recordings side by side."""
    with rc_context({"font.size": 9, "svg.hashsalt": "polyphony"}):
        figure = Figure(figsize=(11.0, 4.6), layout="constrained")
        axes = figure.subplots(2, len(watched), sharex="col", sharey="row")
        titles = "20 minutes of speech (mp3)", "the same once more", "3 hours, mostly silence (opus)"
        for column, (title, run) in enumerate(zip(titles, watched, strict=True)):
            memory, waits = axes[0][column], axes[1][column]
            memory.set_title(f"{title}\ntranscribed in {run.seconds:.0f} s")
            memory.plot(*zip(*run.memory, strict=True), color="#1f6f8b", linewidth=1.2)
            memory.axhline(run.idle_mb, color="#888888", linewidth=0.8, linestyle="--")
            waits.plot(*zip(*run.waits, strict=True), ".", color="#b5502f", markersize=4)
            waits.axhline(idle, color="#888888", linewidth=0.8, linestyle="--")
            waits.axhline(bound, color="#b5502f", linewidth=0.8)
            waits.set_xlabel("seconds since the start")
        axes[0][0].set_ylabel("memory of the service, MB\n(dashed: before)")
        axes[0][0].set_ylim(bottom=0)
        axes[1][0].set_ylabel("latency of a 5 s clip, s\n(dashed: alone; line: target)")
        axes[1][0].set_ylim(bottom=0)
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure, print the result, and draw it if a file is given."""
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
