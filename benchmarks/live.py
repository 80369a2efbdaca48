"""How soon what is said live is known: phrases of many lengths, spoken by the fleet, sent in real time."""

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

from benchmarks.report import BenchmarkResult, Say, Verdict
from benchmarks.running import fleet
from servekit.ops.settings import ProcessSettings
from servekit.rpc.client import connect

PACKAGE = "polyphony.speech.v1"
PIECE_SECONDS = 0.04  # as a browser sends it
QUIET_SECONDS = 2.0  # after a phrase
LOUD = 0.02  # of the loudest sample: what is below at the end is silence
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
class _Heard:
    """One phrase: its seconds; those from its last sound until its text, as the caller saw it and as the service said;
    from its first sound until the first stable word; and what share of its words was stable before the final."""

    speech: float
    final: float
    said: float
    first_stable: float
    stable_share: float


def measure(say: Say) -> BenchmarkResult:
    """The embedded fleet, otherwise idle."""
    say("starting the embedded fleet")
    with fleet("embedded") as running:
        gateway, target = running.address("gateway"), running.status()["speech"]["grpc"]
        with OpenAI(base_url=f"{gateway}/v1", api_key="none", timeout=60) as client:
            clips = {
                kind: [_spoken(client, text) for text in ("Hello.", *sayings)][1:] for kind, sayings in SAYINGS.items()
            }
        heard: dict[str, list[_Heard]] = {kind: [] for kind in clips}
        for kind, sounds in clips.items():
            for number, (rate, samples) in enumerate(sounds):
                say(f"{kind}, {number + 1} of {len(sounds)}")
                heard[kind].append(asyncio.run(_listen(str(target), rate, samples)))
    everything = [one for rows in heard.values() for one in rows]
    return BenchmarkResult(
        "Live: seconds from the end of a phrase, its end silence of 0.5 s included, until its final text",
        {kind: _row(rows) for kind, rows in heard.items()},
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


def _row(rows: Sequence[_Heard]) -> dict[str, float]:
    finals = [one.final for one in rows]
    return {
        "phrase s": median(one.speech for one in rows),
        "final p50": median(finals),
        "final max": max(finals),
        "as the service says": median(one.said for one in rows),
        "first stable word": median(one.first_stable for one in rows),
        "stable before the final": median(one.stable_share for one in rows),
    }


def _spoken(client: OpenAI, text: str) -> tuple[int, NDArray[np.int16]]:
    """A text as sound, without the silence around it: samples a second, and the samples."""
    answer = client.audio.speech.create(model="tts-1", voice="default", input=text, response_format="wav")
    with wave.open(io.BytesIO(answer.content)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > LOUD * np.abs(samples).max())
    return rate, samples[loud[0] : loud[-1] + 1]


async def _listen(target: str, rate: int, samples: NDArray[np.int16]) -> _Heard:
    """Send one phrase between silences as it would be spoken, and note when what is known of it."""
    quiet = np.zeros(int(rate * 0.5), "<i2")
    sound = np.concatenate([quiet, samples, np.zeros(int(rate * QUIET_SECONDS), "<i2")])
    began = time.perf_counter()

    async def requests() -> AsyncIterator[StreamingTranscribeRequest]:
        yield StreamingTranscribeRequest(config=StreamingConfig(sample_rate_hertz=rate, language="en"))
        step = int(rate * PIECE_SECONDS)
        for begin in range(0, len(sound), step):
            await asyncio.sleep(began + (begin + step) / rate - time.perf_counter())
            yield StreamingTranscribeRequest(audio=sound[begin : begin + step].tobytes())

    channel = connect(target, PACKAGE, ProcessSettings())
    start, end = began + len(quiet) / rate, began + (len(quiet) + len(samples)) / rate
    first, stable, final, said, text = 0.0, "", 0.0, 0.0, ""
    async for event in TranscriptionServiceStub(channel).StreamingTranscribe(requests()):
        now = time.perf_counter()
        if event.HasField("interim") and event.interim.committed_text:
            first, stable = first or now - start, event.interim.committed_text
        elif event.HasField("final"):
            final, said, text = now - end, event.final.latency_ms / 1000, event.final.segment.text
    await channel.close()
    if not text:
        raise RuntimeError("nothing was understood")
    return _Heard(len(samples) / rate, final, said, first, len(stable) / len(text))
