"""Time to the first audio of a text of 400 characters, and to the last: over gRPC, and over HTTP by format."""

import time
from statistics import median

import grpc
from polyphony.speech.v1.synthesis_pb2 import SynthesizeRequest
from polyphony.speech.v1.synthesis_pb2_grpc import SynthesisServiceStub

from benchmarks.report import BenchmarkResult, Progress, Verdict, percentile
from benchmarks.running import fleet
from client.blocking import BlockingConnection

CHARACTERS = 400
ROUNDS = 12
WARM_ROUNDS = 2
FORMATS = ("pcm", "wav", "mp3", "opus", "aac", "flac")
MAX_HEADER_BYTES = 400  # of any format
FIRST_MS, FIRST_SHARE = 300.0, 0.15

# First sentences: short, long with a clause, long without one, and with many numbers.
OPENINGS = (
    "It rained all night.",
    "Because nobody in the village had ever seen the river rise so far, they carried their chairs into the church.",
    "The keeper of the old lighthouse on the northern side of the island wrote down every ship that passed the rocks.",
    "On 3 March 1998 Dr. Smith paid $1,250.99 for 12 kg of copper wire, and he sold it at 9:30am the next day.",
)
REST = (
    "In the morning the water stood as high as the windows. A boat was tied to the clock. The baker had saved his "
    "flour and gave it away. Somebody began to sing, and the others joined in, one after another. By noon the sun came "
    "out. Then they went home, and found that their floors were covered with sand, small shells and a letter in a "
    "bottle. It had been written a hundred years before."
)


def measure(progress: Progress) -> BenchmarkResult:
    """Synthesize another text in each round, in every format."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ("gRPC, pcm", *FORMATS)}
    progress("starting the embedded fleet")
    with (
        fleet("embedded") as running,
        BlockingConnection(running.address("gateway")) as web,
        grpc.insecure_channel(str(running.status()["speech"]["grpc"])) as channel,
    ):
        stub = SynthesisServiceStub(channel)
        for number in range(-WARM_ROUNDS, ROUNDS):
            progress(f"round {number + 1} of {ROUNDS}")
            text = f"{OPENINGS[number % len(OPENINGS)]} {REST}"[: CHARACTERS - 1].rstrip() + "."
            for name, times in taken.items():
                both = _through(web, text, name) if name in FORMATS else _direct(stub, text)
                if number >= 0:
                    times.append(both)
    rows = {
        name: {
            "first ms": median(first for first, _ in times) * 1e3,
            "first p95 ms": percentile([first for first, _ in times], 0.95) * 1e3,
            "whole ms": median(whole for _, whole in times) * 1e3,
            "first over whole": median(first / whole for first, whole in times),
        }
        for name, times in taken.items()
    }
    slowest = max(rows.values(), key=lambda row: row["first ms"])
    share = max(row["first over whole"] for row in rows.values())
    return BenchmarkResult(
        f"Synthesis of {CHARACTERS} characters, one caller",
        rows,
        [
            Verdict("first audio, slowest format", slowest["first ms"], "at most", FIRST_MS, "ms"),
            Verdict("first audio over the whole, largest", share, "at most", FIRST_SHARE),
        ],
    )


def _direct(stub: SynthesisServiceStub, text: str) -> tuple[float, float]:
    """Seconds to the first audio and to the last, over gRPC."""
    began, first = time.perf_counter(), 0.0
    for event in stub.Synthesize(SynthesizeRequest(text=text)):
        if event.HasField("chunk") and not first:
            first = time.perf_counter() - began
    return first, time.perf_counter() - began


def _through(web: BlockingConnection, text: str, format_: str) -> tuple[float, float]:
    """Seconds to the first audio and to the last, over HTTP."""
    body = {"input": text, "response_format": format_}
    began = time.perf_counter()
    first, size = 0.0, 0
    with web.stream("POST", "/v1/audio/speech", json=body) as response:
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > MAX_HEADER_BYTES and not first:
                first = time.perf_counter() - began
    return first, time.perf_counter() - began
