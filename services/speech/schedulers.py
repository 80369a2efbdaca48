"""The schedulers of the speech service: what the profile has for each task, loaded and with its slots."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from servekit.models.catalogue import ModelSpec, Task
from servekit.models.loading import Models, load, specs
from servekit.ops.telemetry import Telemetry
from servekit.rpc.errors import FailedPrecondition, Unimplemented
from servekit.scheduling.batch import BatchScheduler
from servekit.scheduling.scheduler import Scheduler
from servekit.scheduling.stream import StreamScheduler
from servekit.scheduling.tensors import TensorScheduler
from services.speech import alignment, diarization, emotion, enhancement, synthesis, transcription, voice_activity
from services.speech.alignment.finders import AlignerScheduler
from services.speech.diarization.listeners import DiarizerScheduler, EncoderScheduler
from services.speech.emotion.emotion import EmotionScheduler, SentimentScheduler
from services.speech.enhancement import Enhancer
from services.speech.settings import SpeechSettings
from services.speech.synthesis import Synthesizer
from services.speech.transcription import TranscriberScheduler
from services.speech.voice_activity import SpeechDetector

log = logging.getLogger(__name__)

RUNTIMES = {
    runtime: target
    for task in (alignment, diarization, emotion, enhancement, synthesis, transcription, voice_activity)
    for runtime, target in task.RUNTIMES.items()
}


@dataclass(frozen=True, slots=True)
class Schedulers:
    """What each task is done by.

    Attributes:
        detector: Tells speech from silence; so quick that it needs no scheduler.
        tensors: Networks that also speak the Open Inference Protocol.
    """

    detector: SpeechDetector
    transcribers: Models[TranscriberScheduler]
    aligners: Models[AlignerScheduler]
    diarizers: Models[DiarizerScheduler]
    encoders: Models[EncoderScheduler]
    synthesizers: Models[StreamScheduler[Synthesizer]]
    enhancers: Models[StreamScheduler[Enhancer]]
    sentiments: Models[SentimentScheduler]
    emotions: Models[EmotionScheduler]
    tensors: Mapping[str, TensorScheduler]

    def __iter__(self) -> Iterator[Scheduler]:
        """Every scheduler but those of the tensors."""
        yield from self.transcribers
        yield from self.aligners
        yield from self.diarizers
        yield from self.encoders
        yield from self.synthesizers
        yield from self.enhancers
        yield from self.sentiments
        yield from self.emotions


async def load_schedulers(settings: SpeechSettings, telemetry: Telemetry) -> Schedulers:
    """Load the profile's models, one after another, and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing, need more memory than is allowed, or nothing tells speech from silence.
    """
    loading = _Loading(settings, telemetry)
    encoders, tensors = list[EncoderScheduler](), dict[str, TensorScheduler]()
    async for spec, encoder in loading.models("embed_speaker"):
        batch, queue = settings.max_batch_voice_windows, settings.max_queue_voice_windows
        slots = [encoder] * settings.threads
        encoders.append(BatchScheduler(spec, slots, telemetry, max_batch_cost=batch, max_queue_cost=queue))
        network = spec.model_copy(update={"id": f"{spec.id}-network"})  # metrics of its own
        tensors[spec.id] = TensorScheduler(network, [encoder.backend], telemetry)
    seconds, characters = settings.max_queue_audio_seconds, settings.max_queue_characters
    return Schedulers(
        detector=await loading.detector(),
        transcribers=await loading.transcribers(),
        aligners=await loading.one_by_one("align", seconds),
        diarizers=await loading.one_by_one("diarize", seconds),
        encoders=Models(encoders),
        synthesizers=await loading.streams("synthesize", settings.synthesize_slots, characters),
        enhancers=await loading.streams("enhance", settings.enhance_slots, seconds),
        sentiments=await loading.one_by_one("read_sentiment", characters),
        emotions=await loading.one_by_one("recognize_emotion", seconds),
        tensors=tensors,
    )


class _Loading:
    """Loads the models of each task."""

    def __init__(self, settings: SpeechSettings, telemetry: Telemetry) -> None:
        self._settings, self._telemetry = settings, telemetry
        self._specs = specs(settings, "speech", telemetry)

    async def models(self, task: Task) -> AsyncIterator[tuple[ModelSpec, Any]]:
        """The models of a task, but those that are not built for this machine."""
        for spec in self._specs:
            if spec.task == task:
                try:
                    yield spec, await load(spec, self._settings, RUNTIMES, self._telemetry)
                except Unimplemented as error:
                    log.warning("%s is left out: %s", spec.id, error.message)
                    self._telemetry.model_ready.remove(spec.id)

    async def detector(self) -> SpeechDetector:
        """The first model that tells speech from silence."""
        async for spec, model in self.models("detect_speech"):
            self._telemetry.model_ready.labels(spec.id).set(True)
            detector: SpeechDetector = model
            return detector
        raise FailedPrecondition(f"the profile {self._settings.profile!r} has no speech model that does detect_speech")

    async def transcribers(self) -> Models[TranscriberScheduler]:
        """One engine for batches where the model wants them, else a slot a transcription."""
        settings = self._settings
        return Models(
            [
                BatchScheduler(
                    spec,
                    [model] * (1 if model.batches else settings.transcribe_slots),
                    self._telemetry,
                    max_batch_cost=settings.max_batch_audio_seconds if model.batches else 0,
                    max_queue_cost=settings.max_queue_audio_seconds,
                    max_sessions=settings.max_concurrent_recordings,
                    prepares=model.batches,
                )
                async for spec, model in self.models("transcribe")
            ]
        )

    async def one_by_one(self, task: Task, max_queue_cost: float) -> Models[BatchScheduler[Any, Any]]:
        """Models that take one item at a time."""
        return Models(
            [
                BatchScheduler(
                    spec, [model], self._telemetry, max_batch_cost=0, max_queue_cost=max_queue_cost, prepares=False
                )
                async for spec, model in self.models(task)
            ]
        )

    async def streams(self, task: Task, slots: int, max_queue_cost: float) -> Models[StreamScheduler[Any]]:
        """Models that answer bit by bit."""
        return Models(
            [
                StreamScheduler(spec, [model] * slots, self._telemetry, max_queue_cost=max_queue_cost)
                async for spec, model in self.models(task)
            ]
        )
