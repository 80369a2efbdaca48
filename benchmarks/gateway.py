"""Latency that the gateway adds: an image over HTTP and the same image over gRPC, in turn."""

import base64
import http.client
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import grpc
import skimage.data
from PIL import Image
from polyphony.type.v1.media_pb2 import Media
from polyphony.vision.v1.vision_pb2 import ReadTextRequest
from polyphony.vision.v1.vision_pb2_grpc import VisionServiceStub

from benchmarks.report import BenchmarkResult, Progress, Verdict, percentile
from benchmarks.running import fleet

SIDE = 408  # pixels: half a megabyte uncompressed, which takes 0.4 ms to decode
ROUNDS = 300
WARM_ROUNDS = 30
BOUNDARY = "bench"


def photograph() -> bytes:
    """A photograph as a BMP of 500 KB."""
    with Image.open(Path(skimage.data.__file__).parent / "astronaut.png") as image:
        stored = io.BytesIO()
        image.convert("RGB").crop((0, 0, SIDE, SIDE)).save(stored, "BMP")
    return stored.getvalue()


def measure(progress: Progress) -> BenchmarkResult:
    """Send the image in every way in turn, for some rounds; report the medians of the differences."""
    image = photograph()
    progress("starting a fleet of fakes")
    with fleet("fake") as running:
        status = running.status()
        web = http.client.HTTPConnection(status["gateway"]["address"].removeprefix("http://"), timeout=30)
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(status["vision"]["grpc"], options) as channel:
            stub = VisionServiceStub(channel)
            request = ReadTextRequest(image=Media(mime_type="image/bmp", inline=image))
            form = (
                f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="a.bmp"\r\n'
                f"content-type: image/bmp\r\n\r\n"
            ).encode() + image
            form += f"\r\n--{BOUNDARY}--\r\n".encode()
            url = f"data:image/bmp;base64,{base64.b64encode(image).decode()}"
            ways: dict[str, Callable[[], object]] = {
                "gRPC to the service": lambda: stub.ReadText(request),
                "raw body": lambda: _post(web, image, "image/bmp"),
                "multipart": lambda: _post(web, form, f"multipart/form-data; boundary={BOUNDARY}"),
                "JSON": lambda: _post(web, json.dumps({"image_url": url}).encode(), "application/json"),
            }
            progress(f"{ROUNDS} rounds")
            seconds = _by_turns(ways)
        web.close()
    direct = seconds["gRPC to the service"]
    rows = {}
    for name, taken in seconds.items():
        added = [(one - base) * 1e3 for one, base in zip(taken, direct, strict=True)]
        rows[name] = {
            "p50 ms": median(taken) * 1e3,
            "p95 ms": percentile(taken, 0.95) * 1e3,
            "added p50 ms": median(added),
        }
    verdict = Verdict("gateway over gRPC, 500 KB raw, p50", rows["raw body"]["added p50 ms"], "at most", 1.0, "ms")
    return BenchmarkResult(f"Gateway: an image of {len(image) // 1000} KB, one caller", rows, [verdict])


def _by_turns(ways: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-WARM_ROUNDS, ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def _post(web: http.client.HTTPConnection, body: bytes, kind: str) -> bytes:
    web.request("POST", "/v1/vision/read", body, {"content-type": kind})
    response = web.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(answer.decode())
    return answer
