"""Evaluation of live transcription in real time."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from client.errors import GatewayError, value_at
from evaluation.speech import metrics
from evaluation.speech.outcome import MetricTable, ReviewedAnswer
from evaluation.speech.task import EvaluationTask, TaskContext
from evaluation.speech_set import sound
from evaluation.speech_set.manifest import EvaluationClip

PIECE_SECONDS = 0.1
AFTERWARDS = 2.0  # seconds of silence after the speech, in which the phrase ends
PATIENCE = 20.0  # seconds without an event, after which nothing more is awaited
CALM = 1.5  # seconds without an event once every phrase that began is complete
EVENT = "conversation.item.input_audio_transcription"
SESSION = {
    "type": "session.update",
    "session": {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": sound.RATE}}}},
}


@dataclass(frozen=True)
class LiveAnswer:
    """The transcript, and the delay of its last final result after the end of the speech."""

    text: str
    latency_seconds: float


class LiveTask(EvaluationTask):
    """Latency and word error rate of final results."""

    name = "live"

    def takes(self, clip: EvaluationClip) -> bool:
        return clip.condition in ("clean", "people") and clip.language == "en" and clip.seconds < 12

    async def ask(self, asking: TaskContext) -> tuple[Sequence[MetricTable], Sequence[ReviewedAnswer]]:
        answered = await asking.each(self.clips, lambda clip: _hear(asking, clip), lambda clip: clip.id)
        marks = [metrics.edits(clip.text, heard.text, clip.language) for clip, heard in answered]
        if not marks:
            return [], []
        late = 1000 * np.array([heard.latency_seconds for _, heard in answered])
        median, p95 = map(float, np.percentile(late, [50, 95]))
        table = MetricTable(
            "Live transcription",
            ("recordings", "clips", "final after, median ms", "95th percentile ms", "WER %"),
            [("clean English, one at a time", len(marks), median, p95, 100 * metrics.rate(marks).value)],
            "From the last sample of speech to the final result at the client, including the 0.5 s of silence that end "
            "an utterance.",
        )
        pairs = zip(marks, answered, strict=True)
        return [table], [
            ReviewedAnswer(clip.id, mark.rate, clip.text, heard.text) for mark, (clip, heard) in pairs if mark.edits
        ]


async def _hear(asking: TaskContext, clip: EvaluationClip) -> LiveAnswer:
    samples = np.concatenate([sound.decode(asking.sound(clip)), sound.silence(AFTERWARDS)])
    url, headers = asking.gateway.socket("/v1/realtime?intent=transcription")
    try:
        async with connect(url, additional_headers=headers, max_size=None) as socket:
            await socket.send(json.dumps(SESSION))
            return await _followed(socket, samples, clip.turns[-1].end)
    except (OSError, WebSocketException) as error:
        raise GatewayError(f"the live session ended early: {error}") from error


async def _followed(socket: ClientConnection, samples: sound.Samples, end: float) -> LiveAnswer:
    """The transcript up to the utterance that ends at `end` seconds."""
    began = time.monotonic()
    sending = asyncio.create_task(_send(socket, samples, began))
    texts: dict[str, str] = {}
    last = told = began
    try:
        while True:
            try:
                event = json.loads(await asyncio.wait_for(socket.recv(), CALM))
            except TimeoutError as error:
                if sending.done() and all(texts.values()):
                    break
                if time.monotonic() - told > PATIENCE:
                    raise GatewayError(f"an utterance had no final result within {PATIENCE:g} s") from error
                continue
            told = time.monotonic()
            match value_at(event, "type"):
                case "input_audio_buffer.speech_started":
                    texts.setdefault(str(value_at(event, "item_id")), "")
                case kind if kind == f"{EVENT}.completed":
                    texts[str(value_at(event, "item_id"))] = str(value_at(event, "transcript")) or " "
                    last = time.monotonic()
                case "error" | "conversation.item.input_audio_transcription.failed":
                    raise GatewayError(str(value_at(event, "error", "message")))
    finally:
        sending.cancel()
    return LiveAnswer(" ".join(texts.values()), last - began - end)


async def _send(socket: ClientConnection, samples: sound.Samples, began: float) -> None:
    """Chunks of samples in real time: each is yielded when its last sample is due."""
    pcm = (samples * 32767).astype("<i2")
    piece = round(PIECE_SECONDS * sound.RATE)
    for start in range(0, len(pcm), piece):
        await asyncio.sleep(max(0.0, began + (start + piece) / sound.RATE - time.monotonic()))
        await socket.send(pcm[start : start + piece].tobytes())
