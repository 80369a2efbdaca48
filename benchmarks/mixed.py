"""Eight concurrent callers of four kinds, compared with the same calls one after another."""

import io
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import skimage.data
from openai import OpenAI
from PIL import Image

from benchmarks.report import BenchmarkResult, Progress, Verdict, percentile
from benchmarks.running import fleet
from client.blocking import BlockingConnection

CALLERS = 2  # of each kind
SAYINGS = (
    "The quick brown fox jumps over the lazy dog.",
    "A marker is a pixel whose region is known before the flood begins.",
    "Please tell me what the instrument showed this morning.",
    "Seven ships sailed north before the storm reached the harbour.",
)
BenchmarkCall = Callable[[int], object]


def page_third() -> bytes:
    """A third of a photographed page."""
    with Image.open(Path(skimage.data.__file__).parent / "page.png") as page:
        image = io.BytesIO()
        page.crop((0, 0, page.width, page.height // 3)).save(image, "PNG")
    return image.getvalue()


def mixed_calls(client: OpenAI, web: BlockingConnection) -> Mapping[str, tuple[BenchmarkCall, int]]:
    """One call of each kind, and how many of them a caller makes, so that all callers take about as long."""
    picture = page_third()
    clips = [
        client.audio.speech.create(model="tts-1", voice="default", input=text, response_format="wav").content
        for text in SAYINGS
    ]
    texts = [f"{saying} Number {number}." for number in range(8) for saying in SAYINGS]

    def read(number: int) -> object:  # noqa: ARG001
        return web.send("POST", "/v1/vision/read", content=picture, headers={"content-type": "image/png"})

    def transcribe(number: int) -> object:
        clip = clips[number % len(clips)]
        return client.audio.transcriptions.create(model="whisper-1", file=("clip.wav", clip, "audio/wav"))

    def chat(number: int) -> object:
        message = f"{number}: say what a harbour is for, in one sentence."
        return client.chat.completions.create(
            model="qwen2.5-coder-0.5b-instruct",
            messages=[{"role": "user", "content": message}],
            max_tokens=32,
            temperature=0.0,
        )

    def embed(number: int) -> object:
        return client.embeddings.create(model="all-minilm-l6-v2", input=[f"{number} {text}" for text in texts])

    return {"OCR": (read, 18), "transcription": (transcribe, 4), "chat": (chat, 8), "embeddings": (embed, 32)}


def _timed(call: BenchmarkCall, count: int, first: int) -> list[float]:
    seconds = []
    for number in range(first, first + count):
        began = time.perf_counter()
        call(number)
        seconds.append(time.perf_counter() - began)
    return seconds


def measure(progress: Progress) -> BenchmarkResult:
    """Measure every call alone, then all callers at once."""
    progress("starting the embedded fleet")
    with fleet("embedded") as running:
        address = running.address("gateway")
        with (
            OpenAI(base_url=f"{address}/v1", api_key="none", timeout=120, max_retries=0) as client,
            BlockingConnection(address) as web,
            ThreadPoolExecutor(4 * CALLERS) as pool,
        ):
            calls = mixed_calls(client, web)
            for call, _ in calls.values():
                call(-1)
            alone: dict[str, list[float]] = {}
            for kind, (call, count) in calls.items():
                progress(f"alone: {kind}")
                alone[kind] = _timed(call, count * CALLERS, 0)
            progress(f"{4 * CALLERS} callers at once")
            began = time.perf_counter()
            futures = {
                kind: [pool.submit(_timed, call, count, 1000 * (caller + 1)) for caller in range(CALLERS)]
                for kind, (call, count) in calls.items()
            }
            together = {kind: [one for future in listed for one in future.result()] for kind, listed in futures.items()}
            seconds = time.perf_counter() - began
    rows = {}
    for kind, taken in alone.items():
        before, after = percentile(taken, 0.95), percentile(together[kind], 0.95)
        rows[kind] = {
            "calls": len(taken),
            "alone p50 s": percentile(taken, 0.5),
            "alone p95 s": before,
            "mixed p50 s": percentile(together[kind], 0.5),
            "mixed p95 s": after,
            "p95 ratio": after / before,
        }
    total = sum(map(sum, alone.values()))
    rows["all"] = {"calls": sum(map(len, alone.values())), "alone s": total, "mixed s": seconds}
    verdicts = [Verdict("throughput of eight mixed callers over one after another", total / seconds, "at least", 1.2)]
    verdicts += [
        Verdict(f"p95 of {kind}, mixed over alone", row["p95 ratio"], "at most", 4.0)
        for kind, row in rows.items()
        if "p95 ratio" in row
    ]
    return BenchmarkResult("Eight mixed callers on the embedded fleet", rows, verdicts)
