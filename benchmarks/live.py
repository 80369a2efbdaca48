"""Latency of live transcription: synthesized phrases of several lengths, sent in real time."""

import asyncio
import io
import time
import wave
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from openai import OpenAI
from polyphony.speech.v1.transcription_pb2 import StreamingConfig, StreamingTranscribeRequest
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub

from benchmarks.report import BenchmarkResult, Progress, Verdict
from benchmarks.running import fleet
from servekit.ops.settings import ProcessSettings
from servekit.rpc.client import connect

PACKAGE = "polyphony.speech.v1"
CHUNK_SECONDS = 0.04  # as a browser sends it
SILENCE_SECONDS = 2.0  # after a phrase
SILENCE_LEVEL = 0.02  # of the loudest sample, below which the ends of a recording are silence
SAYINGS = {
    "short": (
        "Please open the window.",
        "It will rain tomorrow.",
        "Where is the station?",
    ),
    "a sentence": (
        "The quick brown fox jumps over the lazy dog near the river bank.",
        "Seven ships sailed north before the storm reached the old harbour.",
        "Please tell me what the instrument on the tower showed this morning.",
    ),
    "long": (
        "When the markers have been placed by hand and the flood begins to rise from every one of them the basins meet "
        "along the ridges of the image and there the edges are drawn that part the coins from the cloth below them",
        "The committee that had met on Thursday to hear what the engineers thought about the bridge near the mill "
        "decided after a discussion of several hours that the work should begin before the winter and end by May",
    ),
}


@dataclass(frozen=True, slots=True)
class _PhraseLatency:
    """The latency of one phrase, in seconds.

    Attributes:
        speech: The duration of the phrase.
        final: From its end until its final text, by the clock of the client.
        reported: The same, as the service reports it.
        first_committed: From its start until the first committed word.
        committed_share: The share of the text that was committed before the final text.
    """

    speech: float
    final: float
    reported: float
    first_committed: float
    committed_share: float


def measure(progress: Progress) -> BenchmarkResult:
    """Measure the embedded fleet, which is otherwise idle."""
    progress("starting the embedded fleet")
    with fleet("embedded") as running:
        gateway, target = running.address("gateway"), running.status()["speech"]["grpc"]
        with OpenAI(base_url=f"{gateway}/v1", api_key="none", timeout=60) as client:
            clips = {
                kind: [_spoken(client, text) for text in ("Hello.", *sayings)][1:] for kind, sayings in SAYINGS.items()
            }
        latencies: dict[str, list[_PhraseLatency]] = {kind: [] for kind in clips}
        for kind, sounds in clips.items():
            for number, (rate, samples) in enumerate(sounds):
                progress(f"{kind}, {number + 1} of {len(sounds)}")
                latencies[kind].append(asyncio.run(_transcribe(str(target), rate, samples)))
    everything = [one for rows in latencies.values() for one in rows]
    return BenchmarkResult(
        "Live: seconds from the end of a phrase, its end silence of 0.5 s included, until its final text",
        {kind: _row(rows) for kind, rows in latencies.items()},
        [
            Verdict(
                "final text after the end of a phrase, p50",
                median(one.final for one in everything),
                "at most",
                1.0,
                "s",
            ),
            Verdict("the slowest of them", max(one.final for one in everything), "at most", 1.0, "s"),
        ],
    )


def _row(rows: Sequence[_PhraseLatency]) -> dict[str, float]:
    finals = [one.final for one in rows]
    return {
        "phrase s": median(one.speech for one in rows),
        "final p50": median(finals),
        "final max": max(finals),
        "reported p50": median(one.reported for one in rows),
        "first committed word": median(one.first_committed for one in rows),
        "committed before the final": median(one.committed_share for one in rows),
    }


def _spoken(client: OpenAI, text: str) -> tuple[int, NDArray[np.int16]]:
    """Synthesize a text; return the sample rate and the samples without the silence around them."""
    answer = client.audio.speech.create(model="tts-1", voice="default", input=text, response_format="wav")
    with wave.open(io.BytesIO(answer.content)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > SILENCE_LEVEL * np.abs(samples).max())
    return rate, samples[loud[0] : loud[-1] + 1]


async def _transcribe(target: str, rate: int, samples: NDArray[np.int16]) -> _PhraseLatency:
    """Send one phrase between silences in real time, and measure when its texts arrive."""
    quiet = np.zeros(int(rate * 0.5), "<i2")
    sound = np.concatenate([quiet, samples, np.zeros(int(rate * SILENCE_SECONDS), "<i2")])
    began = time.perf_counter()

    async def requests() -> AsyncIterator[StreamingTranscribeRequest]:
        yield StreamingTranscribeRequest(config=StreamingConfig(sample_rate_hertz=rate, language="en"))
        step = int(rate * CHUNK_SECONDS)
        for begin in range(0, len(sound), step):
            await asyncio.sleep(began + (begin + step) / rate - time.perf_counter())
            yield StreamingTranscribeRequest(audio=sound[begin : begin + step].tobytes())

    channel = connect(target, PACKAGE, ProcessSettings())
    start, end = began + len(quiet) / rate, began + (len(quiet) + len(samples)) / rate
    first, committed, final, reported, text = 0.0, "", 0.0, 0.0, ""
    async for event in TranscriptionServiceStub(channel).StreamingTranscribe(requests()):
        now = time.perf_counter()
        if event.HasField("interim") and event.interim.committed_text:
            first, committed = first or now - start, event.interim.committed_text
        elif event.HasField("final"):
            final, reported, text = now - end, event.final.latency_ms / 1000, event.final.segment.text
    await channel.close()
    if not text:
        raise RuntimeError("the phrase was transcribed as an empty text")
    return _PhraseLatency(len(samples) / rate, final, reported, first, len(committed) / len(text))
