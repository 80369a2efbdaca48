"""Transcription of forty recordings by eight callers: the speech service, and faster-whisper called directly."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
from polyphony.speech.v1.transcription_pb2 import TranscribeRequest
from polyphony.speech.v1.transcription_pb2_grpc import TranscriptionServiceStub
from polyphony.type.v1.media_pb2 import Media
from rich.console import Console

from benchmarks.curves import counters
from benchmarks.report import BenchmarkResult, Progress, Verdict
from benchmarks.running import ServiceProcess, line_worker, models_dir, service_process
from evaluation.speech.metrics import edits, rate
from evaluation.speech_set import maker, manifest
from evaluation.speech_set.manifest import EvaluationClip
from servekit.models import catalogue
from servekit.ops.settings import available_cores

CLIPS, SECONDS = 40, (3.0, 25.0)
MIN_SNR_DB = 10.0
CALLERS = 8
ROUNDS = 2
DEADLINE_SECONDS = 600.0
WAYS = ("one at a time", "side by side", "batched")
OURS, FULL = "the service", "the service, full windows"


@dataclass(frozen=True, slots=True)
class TranscriptionRun:
    """The transcription of every recording once; `seconds` and `cpu_seconds` are of all together."""

    seconds: float
    cpu_seconds: float
    texts: Sequence[str]


def measure(progress: Progress) -> BenchmarkResult:
    """Measure both with the same recordings, threads, beam, temperatures and language; the fastest round counts."""
    progress("making the evaluation set")
    folder = models_dir().parent / "speech-set"
    clips = chosen(folder)
    files = [folder / clip.file for clip in clips]
    threads = available_cores()
    spec = catalogue.model("whisper-base")
    with (
        service_process("speech", "embedded", THREADS=str(threads)) as service,
        line_worker("benchmarks.whisper_direct", spec.folder(models_dir()), str(threads), *files) as direct,
    ):
        if direct.stdin is None or direct.stdout is None:
            raise RuntimeError("faster-whisper has no pipes")
        found: dict[str, list[TranscriptionRun]] = {}
        for number in range(ROUNDS):
            for name in (OURS, FULL):
                progress(f"round {number + 1} of {ROUNDS}: {name}")
                found.setdefault(name, []).append(_call(service, spec.id, files, full_window=name == FULL))
            for way in WAYS:
                progress(f"round {number + 1} of {ROUNDS}: faster-whisper, {way}")
                direct.stdin.write(way + "\n")
                found.setdefault(way, []).append(TranscriptionRun(**json.loads(direct.stdout.readline())))
    audio_seconds = sum(clip.seconds for clip in clips)
    best = {name: min(rounds, key=lambda run: run.seconds) for name, rounds in found.items()}
    wrong = {name: _word_error_rate(clips, run.texts) for name, run in best.items()}
    fastest = min(WAYS, key=lambda way: best[way].seconds)
    rows = {
        name if name not in WAYS else f"faster-whisper, {name}": {
            "s": run.seconds,
            "of real time": run.seconds / audio_seconds,
            "CPU s": run.cpu_seconds,
            f"over {fastest}": run.seconds / best[fastest].seconds,
            "WER %": wrong[name] * 100,
        }
        for name, run in best.items()
    }
    return BenchmarkResult(
        f"{len(clips)} recordings, {audio_seconds:.0f} s, {CALLERS} callers, {threads} threads",
        rows,
        [
            Verdict("transcription over the fastest faster-whisper", rows[OURS][f"over {fastest}"], "at most", 0.7),
            Verdict("WER above its WER", (wrong[OURS] - wrong[fastest]) * 100, "at most", 0.5, "points"),
        ],
    )


def chosen(folder: Path) -> list[EvaluationClip]:
    """The recordings: English, one speaker at a time, clean ones first, then those with the least noise."""
    if not (folder / manifest.NAME).exists():
        maker.make(folder, Console(quiet=True))
    clips = [
        clip
        for clip in manifest.read(folder).clips
        if clip.language == "en" and clip.condition in ("clean", "people", "noisy")
        if SECONDS[0] <= clip.seconds <= SECONDS[1] and (clip.snr_db is None or clip.snr_db >= MIN_SNR_DB)
    ]
    clips.sort(key=lambda clip: -(clip.snr_db or 100.0))
    return clips[:CLIPS]


def _call(service: ServiceProcess, model: str, files: Sequence[Path], *, full_window: bool) -> TranscriptionRun:
    recordings = [file.read_bytes() for file in files]

    def transcribe(recording: bytes) -> str:
        request = TranscribeRequest(
            audio=Media(inline=recording, mime_type="audio/flac"), model=model, language="en", full_window=full_window
        )
        events = stub.Transcribe(request, timeout=DEADLINE_SECONDS)
        return " ".join(event.segment.text for event in events if event.HasField("segment"))

    with grpc.insecure_channel(service.address) as channel, ThreadPoolExecutor(CALLERS) as pool:
        stub = TranscriptionServiceStub(channel)
        before, began = _cpu_seconds(service, model), time.perf_counter()
        texts = list(pool.map(transcribe, recordings))
        return TranscriptionRun(time.perf_counter() - began, _cpu_seconds(service, model) - before, texts)


def _cpu_seconds(service: ServiceProcess, model: str) -> float:
    return counters(httpx.get(service.metrics).raise_for_status().text, model)["process_cpu_seconds_total"]


def _word_error_rate(clips: Sequence[EvaluationClip], texts: Sequence[str]) -> float:
    pairs = zip(clips, texts, strict=True)
    return rate([edits(clip.text, text, clip.language) for clip, text in pairs]).value
