"""The lanes of the speech service: what the profile has for each task, loaded and with its slots."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from servekit.batching import BatchLane
from servekit.catalogue import ModelCard, Task
from servekit.errors import FailedPrecondition, Unimplemented
from servekit.lane import Lane
from servekit.models import Models, cards, load
from servekit.streaming import StreamLane
from servekit.telemetry import Telemetry
from servekit.tensors import TensorLane
from services.speech.alignment.finders import AlignerLane
from services.speech.diarization.listeners import DiarizerLane, EncoderLane
from services.speech.emotion.emotion import EmotionLane, SentimentLane
from services.speech.models import LOADERS
from services.speech.ports.enhancer import Enhancer
from services.speech.ports.speech_detector import SpeechDetector
from services.speech.ports.synthesizer import Synthesizer
from services.speech.ports.transcriber import TranscriberLane
from services.speech.settings import SpeechSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lanes:
    """What each task is done by.

    Attributes:
        detector: Tells speech from silence; so quick that it needs no lane.
        tensors: Networks that also speak the Open Inference Protocol.
    """

    detector: SpeechDetector
    transcribers: Models[TranscriberLane]
    aligners: Models[AlignerLane]
    diarizers: Models[DiarizerLane]
    encoders: Models[EncoderLane]
    synthesizers: Models[StreamLane[Synthesizer]]
    enhancers: Models[StreamLane[Enhancer]]
    sentiments: Models[SentimentLane]
    emotions: Models[EmotionLane]
    tensors: Mapping[str, TensorLane]

    def __iter__(self) -> Iterator[Lane]:
        """Every lane but those of the tensors."""
        yield from self.transcribers
        yield from self.aligners
        yield from self.diarizers
        yield from self.encoders
        yield from self.synthesizers
        yield from self.enhancers
        yield from self.sentiments
        yield from self.emotions


async def load_lanes(settings: SpeechSettings, telemetry: Telemetry) -> Lanes:
    """Load the profile's models, one after another, and give each its slots.

    Raises:
        FailedPrecondition: Weights are missing, need more memory than is allowed, or nothing tells speech from silence.
    """
    loading = _Loading(settings, telemetry)
    encoders, tensors = list[EncoderLane](), dict[str, TensorLane]()
    async for card, encoder in loading.models("embed_speaker"):
        batch, queue = settings.voice_batch_windows, settings.max_queue_voice_windows
        slots = [encoder] * settings.threads
        encoders.append(BatchLane(card, slots, telemetry, max_batch_cost=batch, max_queue_cost=queue))
        network = card.model_copy(update={"id": f"{card.id}-network"})  # metrics of its own
        tensors[card.id] = TensorLane(network, [encoder.backend], telemetry)
    seconds, characters = settings.max_queue_audio_seconds, settings.max_queue_characters
    return Lanes(
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
        self._cards = cards(settings, "speech", telemetry)

    async def models(self, task: Task) -> AsyncIterator[tuple[ModelCard, Any]]:
        """The models of a task, but those that are not built for this machine."""
        for card in self._cards:
            if card.task == task:
                try:
                    yield card, await load(card, self._settings, LOADERS, self._telemetry)
                except Unimplemented as error:
                    log.warning("%s is left out: %s", card.id, error.message)
                    self._telemetry.ready.remove(card.id)

    async def detector(self) -> SpeechDetector:
        """The first model that tells speech from silence."""
        async for card, model in self.models("detect_speech"):
            self._telemetry.ready.labels(card.id).set(True)
            detector: SpeechDetector = model
            return detector
        raise FailedPrecondition(f"the profile {self._settings.profile!r} has no speech model that does detect_speech")

    async def transcribers(self) -> Models[TranscriberLane]:
        """One engine for batches where the model wants them, else a slot a transcription."""
        settings = self._settings
        return Models(
            [
                BatchLane(
                    card,
                    [model] * (1 if model.batches else settings.transcribe_slots),
                    self._telemetry,
                    max_batch_cost=settings.transcribe_batch_seconds if model.batches else 0,
                    max_queue_cost=settings.max_queue_audio_seconds,
                    max_sessions=settings.max_recordings,
                    prepares=model.batches,
                )
                async for card, model in self.models("transcribe")
            ]
        )

    async def one_by_one(self, task: Task, max_queue_cost: float) -> Models[BatchLane[Any, Any]]:
        """Models that take one item at a time."""
        return Models(
            [
                BatchLane(
                    card, [model], self._telemetry, max_batch_cost=0, max_queue_cost=max_queue_cost, prepares=False
                )
                async for card, model in self.models(task)
            ]
        )

    async def streams(self, task: Task, slots: int, max_queue_cost: float) -> Models[StreamLane[Any]]:
        """Models that answer bit by bit."""
        return Models(
            [
                StreamLane(card, [model] * slots, self._telemetry, max_queue_cost=max_queue_cost)
                async for card, model in self.models(task)
            ]
        )
